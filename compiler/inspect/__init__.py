"""What a compiled dataset holds, for people: its parts, its counts, its numbers, its rows. Read shard by shard."""
