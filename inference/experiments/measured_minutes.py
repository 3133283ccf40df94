"""How long recipes took to train on one core, by the records of this repository."""

MINUTES: dict[str, float] = {
    "air": 10.7,
    "air-small": 3.2,
    "cannonballs-small": 16.4,
    "dmm-pendulum": 8.0,
    "dvbf-pendulum": 10.8,
    "ed-lstm-small": 13.5,
    "kvae-box-cpu": 46.1,
    "kvae-pendulum": 20.9,
    "kvae-pendulum-mlp": 2.8,
    "kvae-polygon-cpu": 27.4,
    "kvae-pong-cpu": 32.6,
    "sqair-pedestrians-small": 29.3,
    "sqair-small": 66.9,
    "vae-rnn-box-cpu": 15.0,
    "vtssi-air-small": 5.9,
    "vtssi-find-mot-small": 8.1,
    "vtssi-find-small": 5.9,
    "vtssi-rect-find-small": 9.0,
    "vtssi-small": 18.2,
}
"""Recipe -> minutes in the training loop with its own options, one CPU thread, mean over the recorded seeds; recipes
that are not recorded are absent. Machines differ, and some runs were compiled: a test compares it with `results/`."""
