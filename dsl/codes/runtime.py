"""MCD7xx: the runtime."""

from __future__ import annotations

from ..diagnostics import Code

CONTRACT = Code("MCD701", "model-contract", "The model is not the one that the plan was made for.")
UNSUPPORTED_MODEL = Code("MCD702", "unsupported-model", "Nothing says where this model keeps its blocks.")
UNSUPPORTED_ATTENTION = Code(
    "MCD703", "unsupported-attention", "The attention rows of this model cannot be recomputed."
)
FOREIGN_BATCH = Code("MCD704", "foreign-batch", "The batch does not fit the plan or the model.")
ANCHOR = Code("MCD705", "anchor", "An anchor is missing or has another width than the model.")
DEAD_RULE = Code("MCD706", "dead-rule", "A rule that should act does nothing.")
TIME = Code("MCD707", "training-time", "Training time is a share of the optimiser steps, from 0 to 1.")
RAMP = Code("MCD708", "ramp", "An exponential ramp needs two positive ends.")
PROBES = Code("MCD709", "probes", "The file does not hold the probes of this plan.")
CLOSED = Code("MCD710", "closed", "Supervision was closed.")
NO_HEAD = Code("MCD711", "no-head", "A rule acts on the logits of a model that has none.")
WRAPPED_MODEL = Code("MCD712", "wrapped-model", "A model is wrapped in what hides it from its rules.")
MASKING = Code("MCD714", "masking", "The tokens of a model that is not causal are not masked, or cannot be.")
NEXT_TOKEN = Code(
    "MCD715", "next-token", "A measure is of next tokens, which a model that is not causal does not predict."
)
CHUNKED_LOSS = Code("MCD716", "chunked-loss", "The token loss of this model cannot be computed in chunks.")

TRAINER = Code("MCD717", "trainer", "A trainer is set up in a way that supervision cannot work with.")
BESIDE = Code(
    "MCD718", "beside", "What a plan trains beside the model is not in the optimiser, or not in the checkpoint."
)
DIVIDED = Code("MCD719", "divided", "A loss that is a share of its whole step would be divided again.")

TEACHER_MODEL = Code("MCD720", "teacher-model", "The files of a teacher give no model that is the one of the spec.")
TEACHER_MISSING = Code("MCD721", "teacher-missing", "The files of a teacher are not where the plan says.")
TEACHER_CHANGED = Code(
    "MCD722", "teacher-changed", "The files of a teacher are not those that the dataset was compiled with."
)

FULL_GRAPH = Code(
    "MCD723", "full-graph", "A model that is compiled as one whole graph leaves nothing for rules to read."
)
WRAPPED = Code("MCD724", "wrapped", "A wrapper over ranks hides or parts what rules and probes need.")
DETACHED = Code("MCD725", "detached-rule", "The loss of a rule that acts reaches no parameter that is trained.")
RECEIPTS = Code("MCD726", "receipts", "Saved receipts are not those of this plan.")
LONG_RECORD = Code("MCD727", "long-record", "Records are longer than the packed row that they are to stand in.")
BINS = Code("MCD728", "bins", "Packed rows do not hold each record of a batch once.")
PACKED_MODEL = Code("MCD729", "packed-model", "The model does not keep the records of a packed row apart.")

BLOCKS = Code("MCD740", "blocks", "The model cannot be run with its first blocks alone.")
SHARED_PARAMETER = Code(
    "MCD741", "shared-parameter", "Two layers that share a parameter scale its gradient differently."
)
SHARDED = Code("MCD742", "sharded", "The gradients of parameters that lie in parts over ranks cannot be taken apart.")
UNFINISHED_STEP = Code(
    "MCD743", "unfinished-step", "An optimiser step began before the one before it had all its gradients."
)
NOTHING_TRAINED = Code(
    "MCD744", "nothing-trained", "The loss of a training pass depends on no parameter that is trained."
)

MODEL_CONFIG = Code(
    "MCD750", "model-config", "A model's config.json cannot be read, or names no causal language model."
)
CONTEXT_OF_MODEL = Code("MCD751", "context-of-model", "The shards hold texts longer than the model has positions for.")
DIVERGED = Code("MCD752", "diverged", "The loss is no number any more.")
RUN_EXISTS = Code("MCD753", "run-exists", "The directory for a training run holds something already.")
NO_ROWS = Code("MCD754", "no-rows", "A split has no record to train on.")
OUT_OF_MEMORY = Code("MCD755", "out-of-memory", "A training step needs more memory than there is.")
CHECKPOINT = Code("MCD756", "checkpoint", "A checkpoint is missing, or is not what was written.")
OTHER_RUN = Code("MCD757", "other-run", "A checkpoint was made by another run than the one that should go on from it.")
LOG_PACKAGE = Code("MCD758", "log-package", "The package for a log is not installed.")
NOT_INSPECTED = Code("MCD759", "not-inspected", "The gradients of single rules cannot be seen in this model.")
FILE_CHANGED = Code("MCD762", "file-changed", "A file of the dataset is gone or has changed while a run read it.")
UNAVAILABLE = Code("MCD763", "unavailable", "This model or device cannot train in the way that was asked for.")
RANK_ENDED = Code("MCD764", "rank-ended", "Another process of a run ended before this one.")

POSITION = Code("MCD730", "position", "A saved position is not one of this order of rows.")
MEASURE_EXISTS = Code("MCD731", "measure-exists", "A measure of that name was taken already.")
SAVED_MODEL = Code("MCD732", "saved-model", "A saved model cannot be read, or is not one for this dataset.")
STATE_BROKEN = Code("MCD733", "state-broken", "What a loader is to resume from is not what a loader saved.")
STATE_FORMAT = Code("MCD734", "state-format", "The state of a loader is of another version than is read.")
STATE_ROWS = Code("MCD735", "state-rows", "The state of a loader is one of other rows.")
STATE_SEED = Code("MCD736", "state-seed", "The state of a loader has another seed than the loader was given.")
LOADER_SETTINGS = Code("MCD737", "loader-settings", "The settings of a loader contradict each other.")
LOADER_READ = Code("MCD738", "loader-read", "A loader is read in a way in which it would lose its position.")
CACHE = Code("MCD739", "cache", "A dataset at a URL cannot be kept on this machine.")

CLAIM_FAILS = Code("MCD760", "claim-fails", "A trained model is not what the spec expects of it.")
CLAIM_OPEN = Code("MCD761", "claim-open", "A claim about a trained model cannot be decided.")
