"""Self-supervised pre-training in fairseq: task, data set, model, criterion, all named ``speech_pretraining``."""
