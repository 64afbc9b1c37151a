mod bench;
mod exchange;
mod simulation;
mod own_state;
mod transfer;
mod vectors;
