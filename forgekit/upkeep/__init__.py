"""The record kept whole: looked over and mended (`checking`), backed up and restored (`backup`)."""
