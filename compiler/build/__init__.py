"""A fixed list of tasks, and all that runs them: the folder in which a dataset is built, and the engines."""
