package config

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"regexp"

	"cocoon/measure/bootfiles"
	"cocoon/measure/strictjson"
)

const (
	// RoleFile is the one file of the spec that the init reads; others belong to the services.
	RoleFile = "role.json"
	// maxRoleFile bounds role.json; ours are below 2 KiB.
	maxRoleFile = 64 << 10
	maxArgs     = 64
	maxArg      = 512
	// maxContext is a model's context in tokens; the longest published ones have ten million.
	maxContext = 16 << 20
	maxThreads = 1024
)

// Measured is role.json: what this TD is for. RTMR3 covers it through the spec hash.
type Measured struct {
	// Role is proxy or worker and equals the image's profile.
	Role string `json:"role"`
	// Model is the volume a worker serves; absent for a proxy.
	Model *Model `json:"model,omitempty"`
	// Engine holds the engine's settings; absent for a proxy.
	Engine *Engine `json:"engine,omitempty"`
}

// Forms of a model volume (inference.md section 16).
const (
	// FormatEROFS is the layer format, and what an absent format means.
	FormatEROFS = "erofs"
	// FormatTar is the reference's archive, padded, with superblock and tree behind it on the same disk.
	FormatTar = "tar"
)

// Model identifies a model volume (image.md section 13).
type Model struct {
	// ID is name@commit:root; root is the verity root hash of the volume.
	ID string `json:"id"`
	// Format is FormatEROFS or FormatTar; the same files have another root, and so another identity, in each.
	Format string `json:"format,omitempty"`
	// DataBlocks is the number of 4096-byte data blocks; the tree follows one superblock block behind them.
	DataBlocks uint64 `json:"data_blocks"`
	// Salt is the tree's salt, lower-case hex.
	Salt string `json:"salt"`
	// File is the model file's path inside the volume, for engines that load one file; empty otherwise.
	File string `json:"file,omitempty"`
}

// Engine holds what the engine is started with. Values are passed as arguments, never through a shell.
type Engine struct {
	// Args are appended to the command line that the image fixes.
	Args []string `json:"args,omitempty"`
	// Context is the context length in tokens; 0 leaves it to the engine.
	Context int `json:"context,omitempty"`
	// Threads is the number of CPU threads; 0 leaves it to the engine.
	Threads int `json:"threads,omitempty"`
}

var (
	modelIDRule = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9._/-]{0,127})@([A-Za-z0-9._-]{1,64}):([0-9a-f]{64})$`)
	fileRule    = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*$`)
	saltRule    = regexp.MustCompile(`^([0-9a-f]{2}){0,256}$`)
	argRule     = regexp.MustCompile(`^[\x20-\x7e]+$`)
)

// ParseMeasured reads role.json and checks it.
func ParseMeasured(data []byte) (*Measured, error) {
	var m Measured
	if err := decode(RoleFile, data, maxRoleFile, &m); err != nil {
		return nil, err
	}
	return &m, nil
}

// RootHash is the verity root in the model's identity.
func (m Model) RootHash() (string, error) {
	parts := modelIDRule.FindStringSubmatch(m.ID)
	if parts == nil {
		return "", fmt.Errorf("model id %q is not name@commit:root", m.ID)
	}
	return parts[3], nil
}

// Hash is what the network calls the model: the SHA-256 of its identity's text (protocol.md section 15).
func (m Model) Hash() [sha256.Size]byte { return sha256.Sum256([]byte(m.ID)) }

// HashStartBlock is the first tree block: one superblock block lies between data and tree.
func (m Model) HashStartBlock() uint64 { return m.DataBlocks + 1 }

// HashBlocks is the size of the tree.
func (m Model) HashBlocks() uint64 { return bootfiles.TreeBlocks(m.DataBlocks) }

// Validate reports every broken rule with its path.
func (m *Measured) Validate() error {
	rules := []rule{
		{"role", oneOf(m.Role, "proxy", "worker")},
		{"model", only(m.Role == "worker" || m.Model == nil, "a proxy serves no model")},
		{"engine", only(m.Role == "worker" || m.Engine == nil, "a proxy runs no engine")},
	}
	if m.Model != nil {
		rules = append(rules, m.Model.rules()...)
	}
	if m.Engine != nil {
		rules = append(rules, m.Engine.rules()...)
	}
	return findings(rules)
}

func (m *Model) rules() []rule {
	return []rule{
		{"model.id", matches(m.ID, modelIDRule)},
		{"model.format", oneOf(m.Format, "", FormatEROFS, FormatTar)},
		{"model.data_blocks", between(m.DataBlocks, 1, 1<<40-1)},
		{"model.salt", matches(m.Salt, saltRule)},
		{"model.file", optional(m.File, fileRule, maxArg)},
	}
}

func (e *Engine) rules() []rule {
	rules := make([]rule, 0, 3+len(e.Args))
	rules = append(rules,
		rule{"engine.context", between(e.Context, 0, maxContext)},
		rule{"engine.threads", between(e.Threads, 0, maxThreads)},
		rule{"engine.args", between(len(e.Args), 0, maxArgs)})
	for i, a := range e.Args {
		rules = append(rules, rule{fmt.Sprintf("engine.args[%d]", i), errors.Join(matches(a, argRule), between(len(a), 1, maxArg))})
	}
	return rules
}

type validator interface{ Validate() error }

// decode reads one bounded strict JSON document and validates it.
func decode(name string, data []byte, limit int, v validator) error {
	if len(data) > limit {
		return fmt.Errorf("reading %s: %d bytes, at most %d", name, len(data), limit)
	}
	if err := strictjson.Decode(data, v); err != nil {
		return fmt.Errorf("reading %s: %w", name, err)
	}
	if err := v.Validate(); err != nil {
		return fmt.Errorf("checking %s: %w", name, err)
	}
	return nil
}
