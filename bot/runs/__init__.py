"""Long work in run folders: training and evaluations, each in a process of its own, watched, cancelled and gone on with."""
