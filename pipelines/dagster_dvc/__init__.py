"""Any ``dvc.yaml`` as Dagster assets, and the one door to the dvc command.

The stages, their order and their reasons to run stay DVC's; Dagster shows them, starts them one by one and keeps their
history. Nothing here knows the project it serves, so the folder can be lifted out: it needs dagster, dvc and psutil.

* `graph` reads dvc.yaml and dvc.lock, `runner` starts dvc (`keeper` ends what it started, `turn` waits for others);
* `translator` says what a stage looks like in Dagster and is where a project changes that;
* `assets`, `checks`, `sensor` and `variant` are what a ``Definitions`` takes in;
* `health`, `lockfile`, `runcache` and `remotes` find and mend what is broken in dvc's own files;
* `report`, `picture`, `places` and `live` make the metadata;
* `launcher` and `slurm` start runs, as ``dagster.yaml`` says: on this machine, on a cluster.
"""
