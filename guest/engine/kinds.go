package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"cocoon/guest/config"
	"cocoon/guest/sandbox"
)

const (
	// socketName is the engine's socket in the socket folder.
	socketName = "engine.sock"
	// modelTarget is where the model volume appears inside the sandbox.
	modelTarget = "/model"
	// servedName is what the engine calls its model; the worker maps public names to it.
	servedName = "model"
)

// kind is one engine that a layer may carry.
type kind struct {
	name    string
	program string // path inside the layer; its presence selects the kind
	argv    func(program string, m config.Measured) []string
	env     []string
	// ready bounds the start: loading weights and compiling kernels included.
	ready time.Duration
	// library paths beyond the loader's defaults are declared, not discovered (image.md section 9.3)
	devices []sandbox.Device
}

// offline keeps engines from looking for anything outside; there is no network to find it on (image.md section 12).
func offline() []string {
	return []string{
		"HOME=/tmp", "TMPDIR=/tmp", "LANG=C.UTF-8", "PATH=/usr/bin:/bin",
		"HF_HUB_OFFLINE=1", "TRANSFORMERS_OFFLINE=1", "VLLM_NO_USAGE_STATS=1", "DO_NOT_TRACK=1",
		"PYTHONDONTWRITEBYTECODE=1", "XDG_CACHE_HOME=/tmp/cache", "TRITON_CACHE_DIR=/tmp/cache/triton",
	}
}

// python adds what an engine from wheels needs: bytecode stays as built, caches go to the tmpfs, and Triton is told
// where libcuda lies because the layers carry no ld.so.cache (mkosi/README.md).
func python() []string {
	return append(offline(),
		"VLLM_CACHE_ROOT=/tmp/cache/vllm", "TORCHINDUCTOR_CACHE_DIR=/tmp/cache/inductor",
		"FLASHINFER_WORKSPACE_BASE=/tmp/cache", "CUDA_CACHE_PATH=/tmp/cache/cuda",
		"TRITON_LIBCUDA_PATH=/usr/lib/x86_64-linux-gnu",
	)
}

func kinds() []kind {
	return []kind{
		{name: "llamacpp", program: "/usr/bin/llama-server", argv: llamaArgs, env: offline(), ready: 60 * time.Second},
		{name: "vllm", program: "/usr/bin/vllm", argv: vllmArgs, env: python(), ready: 15 * time.Minute},
	}
}

// llamaArgs are the flags of inference.md section 13, with the measured settings behind them.
func llamaArgs(program string, m config.Measured) []string {
	return append([]string{
		program, "-m", filepath.Join(modelTarget, m.Model.File), "--host", sandbox.SocketDir + "/" + socketName,
		"-a", servedName, "--jinja", "--metrics", "--no-ui", "--offline",
	}, settings(m.Engine, "-c", "-t")...)
}

func vllmArgs(program string, m config.Measured) []string {
	return append([]string{
		program, "serve", filepath.Join(modelTarget, m.Model.File), "--uds", sandbox.SocketDir + "/" + socketName,
		"--served-model-name", servedName,
	}, settings(m.Engine, "--max-model-len", "")...)
}

func settings(e *config.Engine, context, threads string) []string {
	if e == nil {
		return nil
	}
	var out []string
	if e.Context > 0 {
		out = append(out, context, strconv.Itoa(e.Context))
	}
	if e.Threads > 0 && threads != "" {
		out = append(out, threads, strconv.Itoa(e.Threads))
	}
	return append(out, e.Args...)
}

// choose finds the engine that the layers carry, the topmost layer first.
func choose(layers []string) (kind, error) {
	for _, dir := range layers {
		for _, k := range kinds() {
			if st, err := os.Lstat(filepath.Join(dir, k.program)); err == nil && !st.IsDir() {
				return k, nil
			}
		}
	}
	return kind{}, fmt.Errorf("looking for an engine in %v: none of the known programs is there", layers)
}
