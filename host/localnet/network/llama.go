package network

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

const (
	// serverPath is the engine within the folder of its packages, libraries are where its libraries are.
	serverPath = "usr/bin/llama-server"
	libraries  = "usr/lib/x86_64-linux-gnu"
	backends   = "ggml/backends0"
)

// startEngine starts what a worker asks, at a unix socket.
func (n *Network) startEngine(ctx context.Context, r *role) error {
	if n.cfg.kind() == scripted {
		l, err := new(net.ListenConfig).Listen(ctx, "unix", r.socket)
		if err != nil {
			return fmt.Errorf("listening for the worker: %w", err)
		}
		n.parts.start(ctx, r.name+"'s scripted engine", func(ctx context.Context) error { return serveHTTP(ctx, l, scriptedEngine()) })
		return nil
	}
	args, env, err := n.llamaCommand(r.socket)
	if err != nil {
		return err
	}
	n.parts.start(ctx, r.name+"'s engine", func(ctx context.Context) error {
		cmd := exec.Command(args[0], args[1:]...) //nolint:noctx // the pinned engine; child ends it
		cmd.Env = env
		return child(ctx, filepath.Join(n.cfg.Dir, r.name+"-engine.log"), cmd)
	})
	return nil
}

// llamaCommand runs the engine by its own loader and libraries, so that nothing of this machine's release matters and no
// privilege is needed. The flags are those of inference.md section 13.
func (n *Network) llamaCommand(socket string) (args, env []string, err error) {
	root, err := filepath.Abs(n.cfg.Engine)
	if err != nil {
		return nil, nil, err
	}
	lib := filepath.Join(root, libraries)
	loader := filepath.Join(lib, "ld-linux-x86-64.so.2")
	if _, err := os.Stat(loader); err != nil {
		return nil, nil, fmt.Errorf("looking for the engine's loader: %w", err)
	}
	backend, err := pickBackend(filepath.Join(lib, backends))
	if err != nil {
		return nil, nil, err
	}
	base, _ := n.cfg.model()
	paths := []string{lib, filepath.Join(lib, "llama"), filepath.Join(lib, "ggml"), filepath.Join(lib, backends)}
	args = []string{
		loader, "--library-path", strings.Join(paths, ":"), filepath.Join(root, serverPath), "-m", n.cfg.Model, "--host", socket, "-t", "1",
		"-c", "8192", "--parallel", "8", "--jinja", "--metrics", "--slots", "-a", base, "--sse-ping-interval", "10", "--no-ui", "--offline",
	}
	if n.cfg.Template != "" {
		args = append(args, "--chat-template-file", n.cfg.Template)
	}
	return args, []string{"HF_HUB_OFFLINE=1", "HOME=" + n.cfg.Dir, "GGML_BACKEND_PATH=" + backend}, nil
}

// pickBackend is the code for any CPU of this architecture: the others are looked for at a fixed path of the engine's.
func pickBackend(dir string) (string, error) {
	const portable = "libggml-cpu-x64.so"
	if runtime.GOARCH != "amd64" {
		return "", fmt.Errorf("the pinned engine is for amd64, this machine is %s", runtime.GOARCH)
	}
	found, err := filepath.Glob(filepath.Join(dir, "libggml-cpu-*.so"))
	if err != nil {
		return "", err
	}
	if i := slices.Index(found, filepath.Join(dir, portable)); i >= 0 {
		return found[i], nil
	}
	return "", fmt.Errorf("%s has no %s", dir, portable)
}
