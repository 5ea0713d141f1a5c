"""What keeps a live camera going: it is opened anew, ever more rarely, whatever becomes of it."""
