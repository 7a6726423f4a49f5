package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/dl"
	"github.com/NVIDIA/go-nvml/pkg/nvml"
)

// library is found by the dynamic linker, in the layer's own library folder.
const library = "libnvidia-ml.so.1"

// maxDevices bounds what we ask about (gpu.md section 22).
const maxDevices = 32

var (
	// errLibrary marks a library that is missing or lacks a call that we cannot do without.
	errLibrary = errors.New("library missing or too old")
	// errTimeout marks a call that did not return.
	errTimeout = errors.New("call did not return in time")
)

// callError is a call with its return code.
type callError struct {
	call string
	code nvml.Return
}

// Error names the call; the words are ours, because the library's own would be a further call.
func (e *callError) Error() string {
	return fmt.Sprintf("calling %s: code %d (%s)", e.call, int(e.code), codeWords(e.code))
}

// codeWords puts the return codes of gpu.md section 3.2 into words.
func codeWords(code nvml.Return) string {
	words := map[nvml.Return]string{
		nvml.ERROR_UNINITIALIZED: "uninitialised", nvml.ERROR_INVALID_ARGUMENT: "invalid argument",
		nvml.ERROR_NOT_SUPPORTED: "not supported", nvml.ERROR_NO_PERMISSION: "no permission",
		nvml.ERROR_NOT_FOUND: "not found", nvml.ERROR_INSUFFICIENT_SIZE: "insufficient size",
		nvml.ERROR_DRIVER_NOT_LOADED: "driver not loaded", nvml.ERROR_TIMEOUT: "timeout",
		nvml.ERROR_LIBRARY_NOT_FOUND: "library not found", nvml.ERROR_FUNCTION_NOT_FOUND: "function not found",
		nvml.ERROR_GPU_IS_LOST: "GPU is lost", nvml.ERROR_RESET_REQUIRED: "reset required",
		nvml.ERROR_OPERATING_SYSTEM: "operating system", nvml.ERROR_LIB_RM_VERSION_MISMATCH: "library and driver differ",
		nvml.ERROR_ARGUMENT_VERSION_MISMATCH: "argument version mismatch", nvml.ERROR_NOT_READY: "not ready",
		nvml.ERROR_GPU_NOT_FOUND: "GPU not found", nvml.ERROR_INVALID_STATE: "invalid state",
	}
	if w, ok := words[code]; ok {
		return w
	}
	return "unknown"
}

// errorDocument is what a failed invocation prints.
type errorDocument struct {
	Schema string `json:"schema"`
	Call   string `json:"call,omitempty"`
	Code   *int   `json:"code,omitempty"` // the library's return code
	Error  string `json:"error"`
}

func describe(err error) errorDocument {
	d := errorDocument{Schema: "cocoon.gpuattest.error/1", Error: err.Error()}
	if failed, ok := errors.AsType[*callError](err); ok {
		code := int(failed.code)
		d.Call, d.Code = failed.call, &code
	}
	return d
}

// session is an initialised library.
type session struct {
	lib nvml.Interface
}

// withSession initialises the library, runs f and shuts it down again. The library's clean-up is not waited for when f
// failed: the process ends anyway.
func withSession(f func(*session) (any, error)) (any, error) {
	s, err := open()
	if err != nil {
		return nil, err
	}
	document, err := f(s)
	if err != nil {
		return nil, err
	}
	if err := s.call("nvmlShutdown", s.lib.Shutdown); err != nil {
		return nil, err
	}
	return document, nil
}

// open loads the library and initialises it. A first look through the dynamic linker tells a missing library from one
// that is something else; go-nvml would end the process on the latter.
func open() (*session, error) {
	probe := dl.New(library, dl.RTLD_LAZY|dl.RTLD_LOCAL)
	if err := probe.Open(); err != nil {
		return nil, fmt.Errorf("%w: loading %s: %w", errLibrary, library, err)
	}
	for _, symbol := range []string{"nvmlInit_v2", "nvmlShutdown"} {
		if err := probe.Lookup(symbol); err != nil {
			return nil, fmt.Errorf("%w: %s has no %s", errLibrary, library, symbol)
		}
	}
	s := &session{nvml.New(nvml.WithLibraryPath(library))}
	if err := within("nvmlInit_v2", s.lib.Init); err != nil {
		return nil, err
	}
	return s, nil
}

// has tells whether the library has a call.
func (s *session) has(symbol string) bool { return s.lib.Extensions().LookupSymbol(symbol) == nil }

// call makes one call of the library, after a look whether it has it.
func (s *session) call(symbol string, f func() nvml.Return) error {
	if !s.has(symbol) {
		return fmt.Errorf("%w: %w", errLibrary, &callError{symbol, nvml.ERROR_FUNCTION_NOT_FOUND})
	}
	return within(symbol, f)
}

// within waits for a call for callTimeout. A call that hangs keeps its goroutine until the process ends, which is next.
func within(symbol string, f func() nvml.Return) error {
	done := make(chan nvml.Return, 1)
	go func() { done <- f() }()
	timer := time.NewTimer(callTimeout)
	defer timer.Stop()
	select {
	case code := <-done:
		if code != nvml.SUCCESS {
			return &callError{symbol, code}
		}
		return nil
	case <-timer.C:
		return fmt.Errorf("%w: %s, %s", errTimeout, symbol, callTimeout)
	}
}

// devices are the handles of all GPUs, in the library's order.
func (s *session) devices() ([]nvml.Device, error) {
	count := 0
	err := s.call("nvmlDeviceGetCount_v2", func() (code nvml.Return) {
		count, code = s.lib.DeviceGetCount()
		return code
	})
	if err != nil {
		return nil, err
	}
	if count < 0 || count > maxDevices {
		return nil, fmt.Errorf("the library counts %d GPUs, at most %d", count, maxDevices)
	}
	out := make([]nvml.Device, count)
	for i := range out {
		err := s.call("nvmlDeviceGetHandleByIndex_v2", func() (code nvml.Return) {
			out[i], code = s.lib.DeviceGetHandleByIndex(i)
			return code
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}
