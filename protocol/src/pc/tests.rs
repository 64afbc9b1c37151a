mod exchange;
mod losing;
mod messages;
mod scene;
mod sending;
mod simulation;
mod traces;
