mod bench;
mod exchange;
mod simulation;
mod transfer;
mod vectors;
