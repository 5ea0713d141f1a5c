"""The whole program on recordings, on two cores and on one."""
