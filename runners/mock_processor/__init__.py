"""An OpenDSR processor to run against: it keeps requests, signs and calls back, well or badly."""
