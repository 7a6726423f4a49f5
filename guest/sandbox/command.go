package sandbox

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

const (
	// EnterVerb is the subcommand of the guest binary that runs the second step.
	EnterVerb = "sandbox"
	// ExecVerb is the subcommand that runs the third step.
	ExecVerb = "sandbox-exec"
	// specFD is where a step finds its description: the first inherited descriptor after stdio.
	specFD = 3
)

// Command prepares, and does not start, the process that confines the engine. self is the guest binary.
func Command(self string, spec Spec) (*exec.Cmd, error) {
	cmd, err := step(self, EnterVerb, spec)
	if err != nil {
		return nil, fmt.Errorf("preparing sandbox: %w", err)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
		Setsid:     true,
	}
	return cmd, nil
}

// step builds the re-execution of the guest binary with the description on an inherited descriptor: no file, no
// environment (layout, section 4).
func step(self, verb string, spec Spec) (*exec.Cmd, error) {
	data, err := spec.encode()
	if err != nil {
		return nil, err
	}
	doc, err := sealedFile("sandbox-spec", data)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, verb) //nolint:noctx // the process outlives the call; the supervisor ends it
	cmd.Env = []string{}
	cmd.ExtraFiles = []*os.File{doc}
	return cmd, nil
}
