package main

import (
	"os"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// waitFile waits until a program in the background has made a file: waitfile trust/root.pem.
func waitFile(ts *testscript.TestScript, _ bool, args []string) {
	const limit, pause = time.Minute, 20 * time.Millisecond
	name := ts.MkAbs(args[0])
	tick := time.NewTicker(pause)
	defer tick.Stop()
	late := time.After(limit)
	for {
		if _, err := os.Stat(name); err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			ts.Fatalf("%s did not appear in %s", args[0], limit)
		}
	}
}
