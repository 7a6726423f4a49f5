package network

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"cocoon/measure/measuretest"
)

const (
	// ScriptedModel is the model whose answers are written down here.
	ScriptedModel = "demo/scripted"
	// commit and root complete a model's name, name@commit:root, where no volume gives them.
	noCommit = "0000000000000000000000000000000000000000"
	noRoot   = "0000000000000000000000000000000000000000000000000000000000000000"
	// readyIn bounds the start.
	readyIn = time.Minute
	// maxRoles bounds the proxies, and the workers: each is a process with a simulated TD.
	maxRoles = 16
)

// Kinds of engines, as the worker's configuration names them.
const (
	scripted = "fake"
	llama    = "llamacpp"
)

// Config says what to run.
type Config struct {
	// Dir keeps configurations, logs and receipts.
	Dir string
	// Lock is the folder's, where the caller has taken it already; the network closes it, whether it starts or not.
	Lock *Lock
	// Guest is the guest binary, whose proxy and worker are run.
	Guest string
	// Listen is where the gateway answers; port 0 takes a free one.
	Listen string
	// Seed is what the simulated platform's keys follow from.
	Seed [measuretest.SeedSize]byte
	// Engine is a folder that holds llama-server with its libraries, as its packages unpack, and Model a GGUF file for it.
	// Both empty means scripted answers. Template is a chat template that replaces the model's own.
	Engine, Model, Template string
	// Proxies and Workers are how many of each run; zero is one. Every worker has an engine of its own and serves every proxy.
	Proxies, Workers int
	// Chain has the network follow a root contract on a chain of its own; without it roles have fixed lists and prices.
	Chain bool
	// Version and Commit name the build on the gateway's page.
	Version, Commit string
	Now             func() time.Time
	Log             *slog.Logger
}

// rule is what a configuration must keep to.
type rule struct {
	broken bool
	text   string
}

// Validate lists everything that is wrong with a configuration.
func (c *Config) Validate() error {
	return errors.Join(c.Early(), broken([]rule{
		{c.Guest == "", "guest: none is given"},
		{(c.Engine == "") != (c.Model == ""), "engine, model: one is useless without the other"},
		{c.Template != "" && c.Model == "", "template: there is no model for it"},
		{c.Engine != "" && !readable(filepath.Join(c.Engine, serverPath)), fmt.Sprintf("engine: %q has no %s", c.Engine, serverPath)},
	}))
}

// Early lists what is wrong with a configuration whose guest, engine and model may still be to come, so that nothing is built
// or fetched for one that could never start.
func (c *Config) Early() error {
	host, _, listenErr := net.SplitHostPort(c.Listen)
	ip := net.ParseIP(host)
	return broken([]rule{
		{c.Dir == "", "dir: none is given"},
		{c.Guest != "" && !isFile(c.Guest), fmt.Sprintf("guest: %q is no file", c.Guest)},
		{isFile(c.Guest) && unix.Access(c.Guest, unix.X_OK) != nil, fmt.Sprintf("guest: %q may not be executed by this user", c.Guest)},
		{listenErr != nil || ip == nil || !ip.IsLoopback(), fmt.Sprintf("listen: %q is no address of this machine alone", c.Listen)},
		{c.Seed == [measuretest.SeedSize]byte{}, "seed: none is given, so the root would be everybody's"},
		{c.Model != "" && !readable(c.Model), fmt.Sprintf("model: %q is no file that this user may read", c.Model)},
		{c.Template != "" && !readable(c.Template), fmt.Sprintf("template: %q is no file that this user may read", c.Template)},
		{c.Proxies < 0 || c.Proxies > maxRoles, fmt.Sprintf("proxies: %d is not in 1..%d", c.Proxies, maxRoles)},
		{c.Workers < 0 || c.Workers > maxRoles, fmt.Sprintf("workers: %d is not in 1..%d", c.Workers, maxRoles)},
		{c.Now == nil || c.Log == nil, "now, log: both are needed"},
	})
}

func broken(rules []rule) error {
	var problems []error
	for _, r := range rules {
		if r.broken {
			problems = append(problems, errors.New(r.text))
		}
	}
	return errors.Join(problems...)
}

func isFile(name string) bool {
	st, err := os.Stat(name)
	return err == nil && st.Mode().IsRegular()
}

func readable(name string) bool { return isFile(name) && unix.Access(name, unix.R_OK) == nil }

// model is the base name of the model, by which apps ask for it, and its full name.
func (c *Config) model() (base, full string) {
	base = ScriptedModel
	if c.Model != "" {
		name := filepath.Base(c.Model)
		base = "local/" + name[:len(name)-len(filepath.Ext(name))]
	}
	return base, base + "@" + noCommit + ":" + noRoot
}

// kind is the engine's.
func (c *Config) kind() string {
	if c.Model != "" {
		return llama
	}
	return scripted
}

// Description is what people and programs need to know about a running network.
type Description struct {
	// URL is the base of the OpenAI API, without /v1; Page is for people.
	URL  string `json:"url"`
	Page string `json:"page"`
	// Model is what to ask for, Engine who answers: "scripted" or "llama-server".
	Model  string `json:"model"`
	Engine string `json:"engine"`
	// Proxy is where the first proxy takes attested clients.
	Proxy string `json:"proxy"`
	// Roles are the processes of the guest binary, in the order in which they were started.
	Roles []Role `json:"roles"`
	// ProxyImage and WorkerImage are the image hashes that the roles attest, RootID the simulated platform's root.
	ProxyImage  string `json:"proxy_image_hash"`
	WorkerImage string `json:"worker_image_hash"`
	RootID      string `json:"root_id"`
	// Chain is where the network's chain is; nil without one.
	Chain *Chain `json:"chain,omitempty"`
	// Simulated is always true.
	Simulated bool   `json:"simulated"`
	Dir       string `json:"dir"`
	// Ready is how long the start took, in milliseconds.
	Ready int64 `json:"ready_ms"`
}

// Role is a process of the guest binary.
type Role struct {
	// Name is unique, like proxy or worker-2, and Kind what the process is.
	Name string `json:"name"`
	Kind string `json:"kind"`
	// Page is where it shows its state to people, Clients where a proxy takes attested clients; empty for workers.
	Page    string `json:"page"`
	Clients string `json:"clients,omitempty"`
	Log     string `json:"log"`
}

// Describe says what Start would run, as far as that is known before.
func Describe(c *Config) Description {
	base, _ := c.model()
	engine := map[string]string{scripted: "scripted", llama: "llama-server"}[c.kind()]
	return Description{URL: "http://" + c.Listen, Page: "http://" + c.Listen + "/stats", Model: base, Engine: engine, Roles: []Role{}, Simulated: true, Dir: c.Dir}
}
