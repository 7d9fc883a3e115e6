//go:build !faults

// Package faults names points in the agent's start at which a test can have it die, fail or hang.
//
// They are there only in a program built with the tag "faults", which only tests do; in any other they are nothing at
// all. Their names are in netvps/faults.py, beside those of the other programs.
package faults

// Enabled is whether points do anything.
const Enabled = false

// Point passes a named point.
func Point(string) {}
