// Command interpreter stands in for Python in tests of Compile: it "compiles" each file named on standard input to a
// header and the file's own bytes, and reports files that contain the word "broken". The environment is part of the
// output, so that a leak from the builder shows.
package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	var failed []string
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		name := lines.Text()
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		switch text := string(data); {
		case strings.Contains(text, "broken"):
			failed = append(failed, name+"\n")
			continue
		case strings.Contains(text, "crash"):
			return fmt.Errorf("crashed on %s", name)
		case strings.Contains(text, "forgotten"):
			continue
		}
		flags := byte(1)
		if strings.Contains(string(data), "timestamp") {
			flags = 0
		}
		dir := filepath.Join(filepath.Dir(name), "__pycache__")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		out := append([]byte{0xf3, 0x0d, 0x0d, 0x0a, flags, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, name...)
		out = append(append(out, data...), strings.Join(os.Environ(), " ")...)
		pyc := strings.TrimSuffix(filepath.Base(name), ".py") + ".cpython-313.pyc"
		if err := os.WriteFile(filepath.Join(dir, pyc), out, 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(os.Args[len(os.Args)-1], []byte(strings.Join(failed, "")), 0o644)
}
