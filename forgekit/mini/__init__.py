"""The mini world: scenes of coloured shapes with exact ground truth, and the small real models that know them."""
