package main

import (
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// addQEMU gives the checkout a QEMU: qemu.
func addQEMU(ts *testscript.TestScript, _ bool, _ []string) {
	t, c := checkout(ts)
	c.Cache = ts.MkAbs("own-cache")
	c.AddQEMU(t)
	ts.Setenv("COCOON_CACHE", c.Cache)
}

// start runs the program whose path a file holds: start FILE ARGS...
func start(ts *testscript.TestScript, neg bool, args []string) {
	err := ts.Exec(strings.TrimSpace(ts.ReadFile(args[0])), args[1:]...)
	if neg == (err == nil) {
		ts.Fatalf("%s: %v", args[0], err)
	}
}
