package engine

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"net/netip"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"
)

const (
	// maxFile bounds engine.toml.
	maxFile = 64 << 10
	// maxSocketPath is what fits into a sockaddr_un.
	maxSocketPath = 107
	maxWords      = 256 // elements of a list in engine.toml
	// maxLimit bounds every count and duration in seconds of engine.toml.
	maxLimit = 1 << 31
)

// ForwardedSocket is the name of the socket in front of an engine that listens on TCP, in a sandbox whose loopback nobody
// outside reaches.
const ForwardedSocket = "engine.sock"

// Kinds of engines. Fake engines are refused by production policy.
const (
	VLLM     = "vllm"
	SGLang   = "sglang"
	LlamaCPP = "llamacpp"
	Fake     = "fake"
)

// Ways in which an engine is made to report usage while it streams.
const (
	// ContinuousUsage asks for usage in every event.
	ContinuousUsage = "continuous_usage_stats"
	// Timings asks for llama-server's running counts.
	Timings = "timings_per_token"
	// FinalUsage asks for usage at the end alone.
	FinalUsage = "include_usage"
)

// Duration is a duration in Go's notation.
type Duration time.Duration

// UnmarshalText reads "1s", "250ms" or "0".
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("reading duration: %w", err)
	}
	*d = Duration(v)
	return nil
}

// Size is a number of bytes.
type Size int64

// UnmarshalText reads "4096", "64KiB" or "10MiB".
func (s *Size) UnmarshalText(text []byte) error {
	word, unit := string(text), int64(1)
	for suffix, factor := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
		if rest, ok := strings.CutSuffix(word, suffix); ok {
			word, unit = rest, factor
		}
	}
	n, err := strconv.ParseInt(word, 10, 32)
	if err != nil || n < 0 {
		return fmt.Errorf("reading size %q: write a number with KiB, MiB or GiB", text)
	}
	*s = Size(n * unit)
	return nil
}

// Config is engine.toml. Values are as the file has them.
type Config struct {
	Kind  string `toml:"kind"`
	Layer struct {
		Image string `toml:"image"`
		Root  string `toml:"root"`
	} `toml:"layer"`
	Argv []string          `toml:"argv"`
	Env  map[string]string `toml:"env"`
	// Listen is unix:/path or an address of the loopback.
	Listen string `toml:"listen"`
	// Paths are all that may be asked for.
	Paths  []string `toml:"paths"`
	Ready  Ready    `toml:"ready"`
	Health Health   `toml:"health"`
	// Model is what the engine calls its model; empty is the name that apps ask for, so that answers say it (see Call).
	Model      string  `toml:"model"`
	ModelsPath string  `toml:"models_path"`
	Metrics    Metrics `toml:"metrics"`
	Usage      Usage   `toml:"usage"`
	Cancel     Cancel  `toml:"cancel"`
	Limits     Limits  `toml:"limits"`
	Bounds     Bounds  `toml:"bounds"`
	// Defaults are used where the unmeasured configuration chooses nothing.
	Defaults Defaults `toml:"defaults"`
	// Features are what workers announce; those of FeaturesByTemplate depend on the model's template.
	Features           []string        `toml:"features"`
	FeaturesByTemplate map[string]bool `toml:"features_by_template"`
	Set                Set             `toml:"set"`
	// StripHeaders keeps only the content type of an answer.
	StripHeaders bool `toml:"strip_headers"`
	// StreamFormat is sse, the default, or ndjson for stub engines.
	StreamFormat string `toml:"stream_format"`
	Errors       Errors `toml:"errors"`
}

// Ways in which an engine that loads its model shows that it gets on.
const (
	// LogProgress counts what the engine writes to its output, and what is read of the model's volume.
	LogProgress = "log"
	// ReadProgress counts the latter alone, for engines that go on writing while they hang.
	ReadProgress = "read"
)

// Ready says when an engine may be asked. With a timeout of 0 it is waited for as long as there is progress.
type Ready struct {
	Path     string   `toml:"path"`
	Expect   int      `toml:"expect"`
	Then     string   `toml:"then"`
	Progress string   `toml:"progress"`
	Timeout  Duration `toml:"timeout"`
}

// Health says when an engine counts as lost.
type Health struct {
	Path      string   `toml:"path"`
	Interval  Duration `toml:"interval"`
	Timeout   Duration `toml:"timeout"`
	FailAfter int      `toml:"fail_after"`
}

// Metrics name the engine's own numbers; alternatives are separated by "|", newer names first.
type Metrics struct {
	Path     string   `toml:"path"`
	Interval Duration `toml:"interval"`
	Running  string   `toml:"running"`
	Waiting  string   `toml:"waiting"`
	KVUse    string   `toml:"kv_use"`
}

// Usage says how the engine counts.
type Usage struct {
	Stream      string `toml:"stream"`
	Cached      string `toml:"cached"`
	Reasoning   string `toml:"reasoning"`
	SumsChoices bool   `toml:"sums_choices"`
}

// Cancel says how a request is stopped: by closing its connection, or in addition by a request of its own, in whose
// body {request_id} stands for the id.
type Cancel struct {
	How   string `toml:"how"`
	Abort struct {
		Path string `toml:"path"`
		Body string `toml:"body"`
	} `toml:"abort"`
}

// Limits bound requests; 0 leaves a limit to the API.
type Limits struct {
	MaxN      int64 `toml:"max_n"`
	MaxBody   Size  `toml:"max_body"`
	Context   int64 `toml:"context"`
	MaxOutput int64 `toml:"max_output"`
}

// Bounds limit what the unmeasured configuration may choose; a missing pair allows nothing.
type Bounds struct {
	GPUFraction []float64 `toml:"gpu_fraction"`
	TP          []int     `toml:"tp"`
	MaxRequests []int     `toml:"max_requests"`
}

// Defaults are the measured values of what the unmeasured configuration may choose. They lie within the bounds.
type Defaults struct {
	GPUFraction float64 `toml:"gpu_fraction"`
	TP          int     `toml:"tp"`
	MaxRequests int     `toml:"max_requests"`
}

// Set names members that are written into requests.
type Set struct {
	MaxTokensField string `toml:"max_tokens_field"`
	// RequestIDField gets the id by which a request can be aborted; empty sends none.
	RequestIDField string `toml:"request_id_field"`
	// CacheSalt says that the engine separates its prefix cache by cache_salt.
	CacheSalt bool `toml:"cache_salt"`
}

// Errors are phrases in the engine's error objects that name a cause of ours.
type Errors struct {
	Context []string `toml:"context"`
}

// Parse reads engine.toml strictly: an unknown key is an error.
func Parse(data []byte) (*Config, error) {
	if len(data) > maxFile {
		return nil, fmt.Errorf("reading engine.toml: %d bytes, at most %d", len(data), maxFile)
	}
	c := new(Config)
	dec := toml.NewDecoder(bytes.NewReader(data)).DisallowUnknownFields()
	if err := dec.Decode(c); err != nil {
		if strict, ok := errors.AsType[*toml.StrictMissingError](err); ok && len(strict.Errors) > 0 {
			return nil, fmt.Errorf("reading engine.toml: unknown key %s", strings.Join(strict.Errors[0].Key(), "."))
		}
		return nil, fmt.Errorf("reading engine.toml: %w", err)
	}
	c.fill()
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("checking engine.toml: %w", err)
	}
	return c, nil
}

// rootRule is how a layer's root is written.
var rootRule = regexp.MustCompile(`^[0-9a-f]{64}$`)

//go:embed kinds/*.toml
var kindFiles embed.FS

// Builtin is the configuration of a kind that comes with the worker. The file is measured with the binary.
func Builtin(kind string) (*Config, error) {
	data, err := BuiltinFile(kind)
	if err != nil {
		return nil, err
	}
	return Parse(data)
}

// BuiltinFile is the file that Builtin reads.
func BuiltinFile(kind string) ([]byte, error) {
	data, err := kindFiles.ReadFile("kinds/" + kind + ".toml")
	if err != nil {
		return nil, fmt.Errorf("finding engine kind: %q is none of %s, %s, %s, %s", kind, VLLM, SGLang, LlamaCPP, Fake)
	}
	return data, nil
}

// Defaults of engine.toml.
const (
	defaultHealthInterval = Duration(time.Second)
	defaultHealthTimeout  = Duration(2 * time.Second)
	defaultFailAfter      = 3
	defaultBody           = Size(10 << 20)
	defaultContext        = 32768
)

// Call names the model where the file does not.
func (c *Config) Call(name string) { or(&c.Model, name) }

func (c *Config) fill() {
	or(&c.StreamFormat, "sse")
	or(&c.Cancel.How, "close")
	or(&c.Usage.Stream, FinalUsage)
	or(&c.Set.MaxTokensField, "max_tokens")
	or(&c.Ready.Expect, 200)
	or(&c.Health.Interval, defaultHealthInterval)
	or(&c.Health.Timeout, defaultHealthTimeout)
	or(&c.Health.FailAfter, defaultFailAfter)
	or(&c.Metrics.Interval, defaultHealthInterval)
	or(&c.Limits.MaxBody, defaultBody)
	or(&c.Limits.Context, defaultContext)
	or(&c.Limits.MaxOutput, c.Limits.Context)
}

func or[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// Validate reports every broken rule with its path.
func (c *Config) Validate() error {
	rules := []struct {
		path string
		ok   bool
		rule string
	}{
		{"kind", slices.Contains([]string{VLLM, SGLang, LlamaCPP, Fake}, c.Kind), "must be vllm, sglang, llamacpp or fake"},
		{"listen", localListen(c.Listen), "must be unix:/path or a port of 127.0.0.1 or [::1]"},
		{"paths", len(c.Paths) > 0 && len(c.Paths) <= maxWords && all(c.Paths, cleanPath), "must list clean absolute paths"},
		{"argv", len(c.Argv) <= maxWords && all(c.Argv, knownWords), "must use no substitution but " + strings.Join(substitutions(), " ")},
		{"argv", len(c.Argv) == 0 || cleanPath(c.Argv[0]), "must begin with the program's path in the layer"},
		{"argv", c.Kind == Fake || len(c.Argv) > 0, "is missing"},
		{"layer.root", c.Layer.Root == "" || rootRule.MatchString(c.Layer.Root), "must be a root hash of 64 hex digits; a tag or a name is no identity"},
		{"ready.progress", slices.Contains([]string{"", LogProgress, ReadProgress}, c.Ready.Progress), "must be log, read or absent"},
		{"ready.path", c.optional(c.Ready.Path), "must be one of paths"},
		{"ready.expect", c.Ready.Expect >= 100 && c.Ready.Expect <= 599, "must be an HTTP status"},
		{"ready.then", c.Ready.Then == "" || c.Ready.Then == "completion", "must be completion or absent"},
		{"ready.timeout", inTime(c.Ready.Timeout, 0), "must not be negative"},
		{"health.path", c.allows(c.Health.Path), "must be one of paths"},
		{"health.interval", inTime(c.Health.Interval, Duration(time.Millisecond)), "must be positive"},
		{"health.timeout", inTime(c.Health.Timeout, Duration(time.Millisecond)), "must be positive"},
		{"health.fail_after", c.Health.FailAfter > 0 && c.Health.FailAfter <= maxWords, "must be a small positive number"},
		{"models_path", c.optional(c.ModelsPath), "must be one of paths"},
		{"metrics.path", c.optional(c.Metrics.Path), "must be one of paths"},
		{"metrics.interval", inTime(c.Metrics.Interval, Duration(time.Millisecond)), "must be positive"},
		{"usage.stream", slices.Contains([]string{ContinuousUsage, Timings, FinalUsage}, c.Usage.Stream), "is no known way to report usage"},
		{"cancel.how", c.Cancel.How == "close" || c.Cancel.How == "close+abort", "must be close or close+abort"},
		{"cancel.abort.path", (c.Cancel.How == "close+abort") == (c.Cancel.Abort.Path != ""), "goes with how = close+abort"},
		{"cancel.abort.path", c.optional(c.Cancel.Abort.Path), "must be one of paths"},
		{"limits.max_n", within(c.Limits.MaxN, 0, maxLimit), "is out of range"},
		{"limits.max_body", within(int64(c.Limits.MaxBody), 1, int64(defaultBody)), "must be at most 10MiB"},
		{"limits.context", within(c.Limits.Context, 1, maxLimit-1), "is out of range"},
		{"limits.max_output", within(c.Limits.MaxOutput, 1, maxLimit-1), "is out of range"},
		{"set.max_tokens_field", slices.Contains([]string{"max_tokens", "max_completion_tokens"}, c.Set.MaxTokensField), "must be max_tokens or max_completion_tokens"},
		{"set.request_id_field", len(c.Set.RequestIDField) <= 64 && plainName(c.Set.RequestIDField), "must be a plain name"},
		{"stream_format", c.StreamFormat == "sse" || c.StreamFormat == "ndjson", "must be sse or ndjson"},
		{"features", len(c.Features) <= maxWords, "has too many entries"},
	}
	found := append(c.Bounds.check(), c.start()...)
	for _, r := range rules {
		if !r.ok {
			found = append(found, fmt.Errorf("%s %s", r.path, r.rule))
		}
	}
	return errors.Join(found...)
}

// check says whether every given pair is one, and in order.
func (b Bounds) check() []error {
	var found []error
	if b.GPUFraction != nil && (len(b.GPUFraction) != 2 || b.GPUFraction[0] <= 0 || b.GPUFraction[1] > 1 || b.GPUFraction[0] > b.GPUFraction[1]) {
		found = append(found, errors.New("bounds.gpu_fraction must be [low, high] within (0, 1]"))
	}
	for name, pair := range map[string][]int{"bounds.max_requests": b.MaxRequests, "bounds.tp": b.TP} {
		if pair != nil && (len(pair) != 2 || pair[0] < 1 || pair[1] > maxLimit-1 || pair[0] > pair[1]) {
			found = append(found, fmt.Errorf("%s must be [low, high] from 1", name))
		}
	}
	slices.SortFunc(found, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return found
}

func (c *Config) allows(p string) bool { return slices.Contains(c.Paths, p) }

func (c *Config) optional(p string) bool { return p == "" || c.allows(p) }

// Allows says whether requests for a path may reach the engine.
func (c *Config) Allows(p string) bool { return c.allows(p) }

// Has says whether the engine, or its model's template, has a feature.
func (c *Config) Has(feature string) bool {
	return slices.Contains(c.Features, feature) || c.FeaturesByTemplate[feature]
}

func all(list []string, ok func(string) bool) bool {
	return !slices.ContainsFunc(list, func(s string) bool { return !ok(s) })
}

func within(n, low, high int64) bool { return n >= low && n <= high }

func inTime(d, low Duration) bool { return d >= low && time.Duration(d) <= 24*time.Hour }

// cleanPath accepts /a/b without dots, doubled slashes, queries or escapes.
func cleanPath(p string) bool {
	return strings.HasPrefix(p, "/") && path.Clean(p) == p && !strings.ContainsAny(p, "?#%\\ \t\r\n")
}

func plainName(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r != '_' && (r < 'a' || r > 'z') })
}

// localListen keeps the engine off every network.
func localListen(listen string) bool {
	if socket, ok := strings.CutPrefix(listen, "unix:"); ok {
		return filepath.IsAbs(socket) && filepath.Clean(socket) == socket && len(socket) <= maxSocketPath
	}
	at, err := netip.ParseAddrPort(listen)
	return err == nil && at.Addr().IsLoopback() && at.Port() != 0
}
