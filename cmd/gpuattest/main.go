// Command gpuattest talks to NVIDIA's management library and to nothing else: it collects the GPUs' attestation
// evidence, releases them for work, and reads their counters (gpu.md sections 3 and 21). It is the one program of the
// project that needs cgo, so it is a short-lived child of the init, which can kill it.
//
// It owns the calls, their order and their time limits. It judges nothing: reports and certificates pass through as
// bytes, and whoever reads the output treats every field as unverified. It trusts the library no further than that:
// sizes are checked before buffers are cut, a missing symbol is found before the call that would end the process, and a
// call that hangs ends the process with its own exit code. One goroutine calls the library at a time.
//
// Output is one JSON document on standard output, also for errors. Exit codes: 0 done, 2 wrong usage, 3 a call failed,
// 4 library missing or too old, 5 a call did not return in time. It refuses to set the ready state to anything but 1.
package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"
)

// The exit codes of gpu.md section 3.7.
const (
	exitOK      = 0
	exitUsage   = 2
	exitCall    = 3
	exitLibrary = 4
	exitTimeout = 5
)

const (
	// callTimeout bounds one call; NVIDIA's own tools give each 5 s.
	callTimeout = 5 * time.Second
	// maxOutput bounds a document; 32 devices with full buffers make 600 kB.
	maxOutput = 4 << 20
	// nonceSize is SPDM's.
	nonceSize = 32
	// usage is all that --help says.
	usage = "usage: gpuattest evidence --nonce HEX64 | ready | metrics --socket PATH | version\n"
)

// errUsage marks a wrong command line.
var errUsage = errors.New("wrong usage")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is one invocation.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	document, err := command(ctx, args, stderr)
	if err == nil && document == nil {
		return exitOK // the server has stopped
	}
	if err == nil {
		if err = writeDocument(stdout, document); err == nil {
			return exitOK
		}
	}
	if errors.Is(err, errUsage) {
		fmt.Fprintf(stderr, "gpuattest: %v\n%s", err, usage) //nolint:errcheck // nowhere to report it
		return exitUsage
	}
	code := exitCall
	failed := describe(err)
	switch {
	case errors.Is(err, errTimeout):
		code = exitTimeout
	case errors.Is(err, errLibrary):
		code = exitLibrary
	}
	if err := writeDocument(stdout, failed); err != nil {
		fmt.Fprintf(stderr, "gpuattest: %v\n", err) //nolint:errcheck // nowhere to report it
	}
	return code
}

// command does what the first argument says and returns the document to print.
func command(ctx context.Context, args []string, stderr io.Writer) (any, error) {
	if len(args) == 0 {
		return nil, fmt.Errorf("%w: no command", errUsage)
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.SetOutput(stderr)
	nonceText, socket := new(string), new(string)
	switch args[0] {
	case "evidence":
		flags.StringVar(nonceText, "nonce", "", "the verifier's nonce, 64 hex digits")
	case "metrics":
		flags.StringVar(socket, "socket", "", "Unix socket to answer on")
	}
	if err := flags.Parse(args[1:]); err != nil || flags.NArg() > 0 {
		return nil, fmt.Errorf("%w: %q", errUsage, args)
	}
	switch args[0] {
	case "version":
		return readVersion(), nil
	case "ready":
		return withSession(setReady)
	case "evidence":
		nonce, err := parseNonce(*nonceText)
		if err != nil {
			return nil, err
		}
		return withSession(func(s *session) (any, error) { return collect(s, nonce) })
	case "metrics":
		if *socket == "" {
			return nil, fmt.Errorf("%w: metrics needs --socket", errUsage)
		}
		return withSession(func(s *session) (any, error) { return nil, serve(ctx, s, *socket) })
	}
	return nil, fmt.Errorf("%w: no command %q", errUsage, args[0])
}

func parseNonce(text string) ([nonceSize]byte, error) {
	var nonce [nonceSize]byte
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != nonceSize {
		return nonce, fmt.Errorf("%w: --nonce %q, want 64 hex digits", errUsage, text)
	}
	return [nonceSize]byte(raw), nil
}

// writeDocument writes one document and a newline.
func writeDocument(w io.Writer, document any) error {
	data, err := json.Marshal(document)
	if err != nil {
		return fmt.Errorf("writing output: %w", err)
	}
	if len(data) > maxOutput {
		return fmt.Errorf("writing output: %d bytes, at most %d", len(data), maxOutput)
	}
	if _, err := w.Write(append(data, '\n')); err != nil {
		return fmt.Errorf("writing output: %w", err)
	}
	return nil
}

// versionDocument says what the program was built from; it does not load the library.
type versionDocument struct {
	Schema string `json:"schema"`
	Go     string `json:"go"`
	NVML   string `json:"go_nvml"`
}

func readVersion() versionDocument {
	v := versionDocument{Schema: "cocoon.gpuattest.version/1"}
	if info, ok := debug.ReadBuildInfo(); ok {
		v.Go = info.GoVersion
		for _, m := range info.Deps {
			if m.Path == "github.com/NVIDIA/go-nvml" {
				v.NVML = m.Version
			}
		}
	}
	return v
}
