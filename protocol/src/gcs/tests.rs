mod bench;
mod exchange;
mod own_state;
mod simulation;
mod transfer;
mod vectors;
