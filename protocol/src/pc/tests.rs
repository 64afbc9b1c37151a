mod exchange;
mod hostile;
mod losing;
mod messages;
mod scene;
mod sending;
mod simulation;
mod traces;
