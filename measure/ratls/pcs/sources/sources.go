package sources

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"cocoon/measure/dcap"
	"cocoon/measure/ratls/pcs"
)

// Config says where a machine keeps collateral and whom it asks, in the order of attestation.md section 11.1.
type Config struct {
	Roots *dcap.Roots
	Now   func() time.Time
	// StoreDir keeps bundles beyond the process; empty means memory only.
	StoreDir string
	// PCCS are addresses of caching services, asked in order.
	PCCS []string
	// AnyTLS accepts every TLS certificate of the caching services, which usually have self-signed ones.
	AnyTLS bool
	// NoIntel leaves Intel's own service out.
	NoIntel bool
	// Early asks for TCB evaluations before they are in force.
	Early bool
	// Bundle is a file, or a folder of files, with bundles for when no service answers; empty means none.
	Bundle string
	// HTTP makes the requests; nil means pcs.NewHTTPClient.
	HTTP *http.Client
	// Log and Changed are passed on to the cache.
	Log     *slog.Logger
	Changed func(dcap.Platform, *dcap.Collateral)
}

// Open makes the cache of a configuration: memory, then the store, the caching services, Intel's service, the bundles.
// The store is nil if none is configured. The cache must be closed.
func Open(cfg Config) (*pcs.Cache, *Store, error) {
	if cfg.Roots == nil {
		return nil, nil, errors.New("opening collateral: no trusted roots given")
	}
	out := pcs.Config{Roots: cfg.Roots, Now: cfg.Now, Log: cfg.Log, Changed: cfg.Changed}
	var store *Store
	if cfg.StoreDir != "" {
		var err error
		if store, err = OpenStore(cfg.StoreDir, cfg.Roots); err != nil {
			return nil, nil, err
		}
		out.Store = store
	}
	services := make([]pcs.ClientConfig, 0, len(cfg.PCCS)+1)
	for _, url := range cfg.PCCS {
		services = append(services, pcs.ClientConfig{URL: url, Early: cfg.Early, AnyTLS: cfg.AnyTLS, HTTP: cfg.HTTP})
	}
	if !cfg.NoIntel {
		services = append(services, pcs.ClientConfig{URL: pcs.IntelURL, Early: cfg.Early, HTTP: cfg.HTTP})
	}
	for _, service := range services {
		c, err := pcs.NewClient(service)
		if err != nil {
			return nil, nil, err
		}
		out.Sources = append(out.Sources, c)
	}
	if cfg.Bundle != "" {
		offline, err := Offline(cfg.Bundle, cfg.Roots)
		if err != nil {
			return nil, nil, err
		}
		out.Sources = append(out.Sources, offline)
	}
	cache, err := pcs.NewCache(out)
	return cache, store, err
}

// Offline makes a source of the bundle in a file, or of those in a folder. Each must verify as of its issue.
func Offline(path string, roots *dcap.Roots) (*pcs.Fixed, error) {
	files, err := BundleFiles(path)
	if err != nil {
		return nil, fmt.Errorf("reading collateral bundles: %w", err)
	}
	out := pcs.NewFixed(path)
	for _, name := range files {
		b, err := ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("reading collateral bundles: %w", err)
		}
		if err := out.Add(b, roots); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return out, nil
}

// BundleFiles lists the bundles that a path means: the file itself, or the .json files in a folder, of which there must
// be one at least.
func BundleFiles(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	names, err := bundleNames(path)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("no %s file in %s", suffix, path)
	}
	for i, name := range names {
		names[i] = filepath.Join(path, name)
	}
	return names, nil
}
