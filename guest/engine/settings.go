package engine

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"cocoon/guest/config"
	"cocoon/guest/sandbox"
	settings "cocoon/guest/worker/engine"
	"cocoon/measure/spec"
)

const (
	// modelTarget is where the model volume appears inside the sandbox.
	modelTarget = "/model"
	// builtinOrigin says that the file came with the image.
	builtinOrigin = "the image"
)

// Settings is the engine.toml in force. Everything about an engine's start is in it.
type Settings struct {
	*settings.Config
	// File is its text, for the worker, which reads the same.
	File []byte
	// Origin says where it came from: the measured configuration, or the image.
	Origin string
}

// Choose finds the engine.toml: the measured configuration's or, without one, the image's own for the engine that its
// layers carry, the topmost layer first. Both are measured.
func Choose(files []spec.File, layers []string) (Settings, error) {
	if i := slices.IndexFunc(files, func(f spec.File) bool { return f.Path == config.EngineFile }); i >= 0 {
		return load(files[i].Data, config.EngineFile)
	}
	for _, dir := range layers {
		for _, kind := range []string{settings.VLLM, settings.LlamaCPP} {
			data, err := settings.BuiltinFile(kind)
			if err != nil {
				return Settings{}, err
			}
			s, err := load(data, builtinOrigin)
			if err != nil {
				return Settings{}, err
			}
			if st, err := os.Lstat(filepath.Join(dir, s.Argv[0])); err == nil && !st.IsDir() {
				return s, nil
			}
		}
	}
	return Settings{}, fmt.Errorf("looking for an engine in %v: none of the known programs is there, and the measured configuration has no %s",
		layers, config.EngineFile)
}

// load reads an engine.toml that an engine is to be started from.
func load(data []byte, origin string) (Settings, error) {
	c, err := settings.Parse(data)
	if err != nil {
		return Settings{}, err
	}
	if c.Kind == settings.Fake {
		return Settings{}, errors.New("checking engine.toml: kind fake is for tests in one process; no image starts it")
	}
	return Settings{Config: c, File: data, Origin: origin}, nil
}

// socketName is the socket's name in the folder that sandbox and worker share. An engine that listens on TCP gets a
// forwarder from there to its own loopback.
func (s Settings) socketName() (string, *sandbox.Forward, error) {
	socket, ok := strings.CutPrefix(s.Listen, "unix:")
	switch {
	case !ok:
		return settings.ForwardedSocket, &sandbox.Forward{Socket: sandbox.SocketDir + "/" + settings.ForwardedSocket, Address: s.Listen}, nil
	case filepath.Dir(socket) != sandbox.SocketDir:
		return "", nil, fmt.Errorf("starting engine: listen is %q; the sandbox shares unix:%s/NAME alone", s.Listen, sandbox.SocketDir)
	}
	return filepath.Base(socket), nil, nil
}

// environment is what every engine gets, and what engine.toml adds or changes, sorted.
func (s Settings) environment() []string {
	env := map[string]string{"HOME": "/tmp", "TMPDIR": "/tmp", "LANG": "C.UTF-8", "PATH": "/usr/local/bin:/usr/bin:/bin"}
	maps.Copy(env, s.Env)
	out := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		out = append(out, name+"="+env[name])
	}
	return out
}

// inLayer refuses an engine.toml that is for another layer than the image's.
func (s Settings) inLayer(roots []string) error {
	if root := s.Layer.Root; root != "" && !slices.Contains(roots, root) {
		return fmt.Errorf("starting engine: engine.toml is for the layer %s with root %s; this image's have %s",
			s.Layer.Image, root, strings.Join(roots, ", "))
	}
	return nil
}
