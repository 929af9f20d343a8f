"""Trainers of Hugging Face over a supervised model: what the mixin, its data, its evaluation and its report are made of."""
