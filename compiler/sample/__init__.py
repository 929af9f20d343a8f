"""A few records of every source, taken through the compiler without writing any of it: `mcd check --data`."""
