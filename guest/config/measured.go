package config

import (
	"crypto/sha256"
	"fmt"
	"regexp"
	"strings"

	"cocoon/measure/bootfiles"
	"cocoon/measure/strictjson"
)

const (
	// RoleFile is the file of the spec that says what the machine is for.
	RoleFile = "role.json"
	// EngineFile is engine.toml of inference.md section 12; without it the image's own for its engine counts.
	EngineFile = "engine.toml"
	// maxRoleFile bounds role.json; ours are below 2 KiB.
	maxRoleFile = 64 << 10
	// maxModelFile bounds the path of a model's file.
	maxModelFile = 512
)

// Measured is role.json: what this TD is for. RTMR3 covers it through the spec hash.
type Measured struct {
	// Role is proxy or worker and equals the image's profile.
	Role string `json:"role"`
	// Model is the volume a worker serves; absent for a proxy. How its engine is started is in EngineFile.
	Model *Model `json:"model,omitempty"`
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

var (
	modelIDRule = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9._/-]{0,127})@([A-Za-z0-9._-]{1,64}):([0-9a-f]{64})$`)
	fileRule    = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*$`)
	saltRule    = regexp.MustCompile(`^([0-9a-f]{2}){0,256}$`)
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

// Name is the identity's first part, by which apps ask for the model.
func (m Model) Name() string {
	name, _, _ := strings.Cut(m.ID, "@")
	return name
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
	}
	if m.Model != nil {
		rules = append(rules, m.Model.rules()...)
	}
	return findings(rules)
}

func (m *Model) rules() []rule {
	return []rule{
		{"model.id", matches(m.ID, modelIDRule)},
		{"model.format", oneOf(m.Format, "", FormatEROFS, FormatTar)},
		{"model.data_blocks", between(m.DataBlocks, 1, 1<<40-1)},
		{"model.salt", matches(m.Salt, saltRule)},
		{"model.file", optional(m.File, fileRule, maxModelFile)},
	}
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
