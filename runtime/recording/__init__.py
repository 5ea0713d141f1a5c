"""Both cameras as they come, before anything pairs them: infrared without loss, replayable as a rig."""
