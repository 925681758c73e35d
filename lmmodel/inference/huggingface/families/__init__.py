"""Published architectures as transformers spells them: one `model_type`, one file.

Each says, under these names, how a folder of it and a declaration correspond:

    ARCHITECTURE   the class that transformers makes of it
    BASE           the module under which that class keeps all but its head
    DEFAULTS       what transformers takes for a setting that a config.json leaves out
    declare        Config -> Declaration; every setting is used, known to be without effect, or refused by name
    describe       Seen -> the settings that `declare` would read; what they cannot say is found by declaring them again
    rules          Declaration -> which tensors are which
    LEFT_OUT       patterns of tensors that transformers does not read either; may be absent
"""
