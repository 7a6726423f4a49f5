// Package gguf writes model files whose answers are known in advance, for engines that run on any CPU.
//
// It owns a GGUF writer for small models of the llama architecture and one such model, Demo, whose weights make every token
// lead to a scripted successor, so that a real engine computes a known answer (inference.md section 13). It reads nothing
// from outside and keeps no state. The same model gives the same bytes. It refuses a script that no weights can follow: one
// where a token has two successors.
package gguf
