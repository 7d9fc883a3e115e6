//go:build !faults

// Package faults names points in the agent's start at which a test can make it die, fail or hang.
//
// They exist only in a program built with the tag "faults", as tests do; otherwise they compile to nothing. Their names
// are in netvps/faults.py, with those of the other programs.
package faults

// Enabled reports whether fault points are active.
const Enabled = false

// Point is a named fault point.
func Point(string) {}
