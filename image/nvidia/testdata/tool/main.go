// Command tool stands in for make and strip in tests of the module build: make copies the modules that the source
// brings along and appends everything it can see of its surroundings, strip appends its arguments. A builder's path,
// clock or name that got in would show in the result.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	var err error
	if filepath.Base(os.Args[0]) == "strip" {
		err = appendTo(os.Args[len(os.Args)-1], strings.Join(os.Args[1:], " "))
	} else {
		err = build()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func build() error {
	made, err := filepath.Glob("made-*.ko")
	if err != nil || len(made) == 0 {
		return fmt.Errorf("no made module: %v", err)
	}
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	seen := fmt.Sprintf("dir=%s host=%s pid=%d args=%q env=%s", dir, host, os.Getpid(), os.Args, strings.Join(os.Environ(), " "))
	for _, name := range made {
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		out := strings.TrimPrefix(name, "made-")
		if err := os.WriteFile(out, data, 0o644); err != nil {
			return err
		}
		if err := appendTo(out, seen+"\n"+strings.Join(os.Args, " ")+"\n"+strings.Join(os.Environ(), "\n")); err != nil {
			return err
		}
	}
	return nil
}

func appendTo(name, text string) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	if _, err := f.WriteString(text); err != nil {
		return err
	}
	return f.Close()
}
