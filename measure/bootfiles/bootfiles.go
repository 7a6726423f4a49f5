// Package bootfiles defines the measured files that the image builder writes into the initrd and the init reads:
// etc/layers.json, etc/image.json, etc/cmdline and lib/modules.order (image.md sections 2 and 5).
//
// It owns their names, shapes and rules, so that the two sides cannot drift. Bytes are canonical JSON: what parses
// has exactly one encoding. The files are covered by RTMR1 through the UKI, so the guest trusts their content once
// the kernel has unpacked them; it still checks every rule, because a builder's bug must fail by name. It refuses
// files in another encoding. Values are plain data.
package bootfiles

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"cocoon/measure/strictjson"
)

// Paths of the files inside the initrd, without a leading slash as cpio names them.
const (
	LayersPath       = "etc/layers.json"
	ImagePath        = "etc/image.json"
	CmdlinePath      = "etc/cmdline"
	ModulesOrderPath = "lib/modules.order"
	ModulesDir       = "lib/modules"
)

const (
	// BlockSize is the data and hash block size of every verity volume of ours.
	BlockSize = 4096
	// maxLayers bounds layers.json; a worker has three.
	maxLayers = 16
	// maxModules bounds modules.order; the base set has 18.
	maxModules = 256
	// LayerMountRoot is the folder below which every layer is mounted.
	LayerMountRoot = "/run/layers"
)

// Role says what a layer is for; the boot stages find their layer by it.
type Role string

// The roles of layers.
const (
	RoleBase   Role = "base"
	RoleGPU    Role = "gpu"
	RoleEngine Role = "engine"
)

// Layer is one read-only dm-verity volume: everything the guest needs to open it, none of it read from the volume.
type Layer struct {
	// ID is the virtio-blk serial and the device-mapper name; virtio cuts serials at 20 bytes.
	ID string `json:"id"`
	// DataBlocks is the number of 4096-byte EROFS blocks.
	DataBlocks uint64 `json:"dataBlocks"`
	// HashStartBlock is the first tree block, counted in blocks from the start of the device.
	HashStartBlock uint64 `json:"hashStartBlock"`
	// HashBlocks is the number of tree blocks; 0 when there is exactly one data block.
	HashBlocks uint64 `json:"hashBlocks"`
	// Salt and RootHash are lower-case hex.
	Salt     string `json:"salt"`
	RootHash string `json:"rootHash"`
	// Mount is the absolute mount point, a folder below LayerMountRoot.
	Mount string `json:"mount"`
	// Role is what the layer is for.
	Role Role `json:"role"`
}

// Variant says how an image treats failure and what it prints; it is measured.
type Variant string

// The variants of an image.
const (
	// Production powers off on any failure and talks to hvc0 only.
	Production Variant = "production"
	// Debug carries the word cocoon_debug, extends RTMR3 with it, and may offer a console shell.
	Debug Variant = "debug"
	// Test is for QEMU without TDX: software registers, serial console; production policy refuses its hash.
	Test Variant = "test"
)

// Image is etc/image.json.
type Image struct {
	// Name is the image's name: proxy, worker-cpu, worker-gpu.
	Name string `json:"name"`
	// Profile is proxy or worker: which services PID 1 starts.
	Profile string `json:"profile"`
	// Variant is production, debug or test.
	Variant Variant `json:"variant"`
	// Version is the image format's version; it changes when the guest's contract with its inputs does.
	Version int `json:"version"`
}

// DebugWord is the command-line word that marks a debug image (measure.md section 9.2).
const DebugWord = "cocoon_debug"

// Cmdline is the exact kernel command line of a variant; extra words belong to the recipe (swiotlb for GPUs).
func Cmdline(v Variant, extra ...string) string {
	words := []string{"console=hvc0", "quiet", "panic=-1"}
	switch v {
	case Test:
		words[0] = "console=ttyS0"
	case Debug:
		words = append(words, DebugWord)
	case Production:
	}
	return strings.Join(append(words, extra...), " ")
}

// EncodeLayers writes etc/layers.json.
func EncodeLayers(layers []Layer) ([]byte, error) {
	if err := checkLayers(layers); err != nil {
		return nil, fmt.Errorf("encoding %s: %w", LayersPath, err)
	}
	return strictjson.Canonical(layers)
}

// ParseLayers reads etc/layers.json.
func ParseLayers(data []byte) ([]Layer, error) {
	var layers []Layer
	if err := decodeCanonical(data, &layers); err != nil {
		return nil, fmt.Errorf("reading %s: %w", LayersPath, err)
	}
	if err := checkLayers(layers); err != nil {
		return nil, fmt.Errorf("reading %s: %w", LayersPath, err)
	}
	return layers, nil
}

// EncodeImage writes etc/image.json.
func EncodeImage(img Image) ([]byte, error) {
	if err := img.Validate(); err != nil {
		return nil, fmt.Errorf("encoding %s: %w", ImagePath, err)
	}
	return strictjson.Canonical(img)
}

// ParseImage reads etc/image.json.
func ParseImage(data []byte) (Image, error) {
	var img Image
	if err := decodeCanonical(data, &img); err != nil {
		return Image{}, fmt.Errorf("reading %s: %w", ImagePath, err)
	}
	if err := img.Validate(); err != nil {
		return Image{}, fmt.Errorf("reading %s: %w", ImagePath, err)
	}
	return img, nil
}

// EncodeModulesOrder writes lib/modules.order: one file name a line, in loading order.
func EncodeModulesOrder(files []string) ([]byte, error) {
	if err := checkModules(files); err != nil {
		return nil, fmt.Errorf("encoding %s: %w", ModulesOrderPath, err)
	}
	return []byte(strings.Join(files, "\n") + "\n"), nil
}

// ParseModulesOrder reads lib/modules.order.
func ParseModulesOrder(data []byte) ([]string, error) {
	text, ok := strings.CutSuffix(string(data), "\n")
	if !ok {
		return nil, fmt.Errorf("reading %s: no newline at the end", ModulesOrderPath)
	}
	files := strings.Split(text, "\n")
	if err := checkModules(files); err != nil {
		return nil, fmt.Errorf("reading %s: %w", ModulesOrderPath, err)
	}
	return files, nil
}

// Validate checks the fields against the closed sets of this package.
func (i Image) Validate() error {
	var errs []error
	if !nameRule.MatchString(i.Name) {
		errs = append(errs, fmt.Errorf("name: %q does not match %s", i.Name, nameRule))
	}
	if i.Profile != "proxy" && i.Profile != "worker" {
		errs = append(errs, fmt.Errorf("profile: %q is neither proxy nor worker", i.Profile))
	}
	if i.Variant != Production && i.Variant != Debug && i.Variant != Test {
		errs = append(errs, fmt.Errorf("variant: %q is none of production, debug, test", i.Variant))
	}
	if i.Version < 1 {
		errs = append(errs, fmt.Errorf("version: %d is below 1", i.Version))
	}
	return errors.Join(errs...)
}

// Validate checks one layer's fields, including the geometry of its hash tree.
func (l Layer) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(nameRule.MatchString(l.ID), "id: %q does not match %s", l.ID, nameRule)
	check(l.DataBlocks >= 1 && l.DataBlocks < 1<<40, "dataBlocks: %d is not in 1..2^40-1", l.DataBlocks)
	check(l.HashStartBlock == l.DataBlocks+1, "hashStartBlock: %d, want dataBlocks+1 = %d", l.HashStartBlock, l.DataBlocks+1)
	check(l.HashBlocks == TreeBlocks(l.DataBlocks), "hashBlocks: %d, want %d", l.HashBlocks, TreeBlocks(l.DataBlocks))
	check(isHex(l.Salt, 0, 256), "salt: %q is not lower-case hex of at most 256 bytes", l.Salt)
	check(isHex(l.RootHash, 32, 32), "rootHash: %q is not 64 lower-case hex digits", l.RootHash)
	check(l.Mount == LayerMountRoot+"/"+l.ID, "mount: %q, want %s/%s", l.Mount, LayerMountRoot, l.ID)
	check(l.Role == RoleBase || l.Role == RoleGPU || l.Role == RoleEngine, "role: %q is none of base, gpu, engine", l.Role)
	return errors.Join(errs...)
}

// TreeBlocks is the number of hash-tree blocks for a number of data blocks: 128 digests a block, levels until one
// block is left, none at all for a single data block (image.md section 6.1).
func TreeBlocks(dataBlocks uint64) uint64 {
	const fanOut = BlockSize / 32
	var total uint64
	for n := dataBlocks; n > 1; {
		n = (n + fanOut - 1) / fanOut
		total += n
	}
	return total
}

var (
	nameRule   = regexp.MustCompile(`^[a-z0-9-]{1,20}$`)
	moduleRule = regexp.MustCompile(`^[a-z0-9_]{1,60}\.ko$`)
)

func checkLayers(layers []Layer) error {
	if len(layers) == 0 || len(layers) > maxLayers {
		return fmt.Errorf("%d layers, want 1..%d", len(layers), maxLayers)
	}
	seen := make(map[string]bool)
	for i, l := range layers {
		if err := l.Validate(); err != nil {
			return fmt.Errorf("layer %d: %w", i, err)
		}
		if seen[l.ID] {
			return fmt.Errorf("layer %d: id %q appears twice", i, l.ID)
		}
		seen[l.ID] = true
	}
	return nil
}

func checkModules(files []string) error {
	if len(files) > maxModules {
		return fmt.Errorf("%d modules, at most %d", len(files), maxModules)
	}
	seen := make(map[string]bool)
	for i, f := range files {
		if !moduleRule.MatchString(f) {
			return fmt.Errorf("line %d: %q does not match %s", i+1, f, moduleRule)
		}
		if seen[f] {
			return fmt.Errorf("line %d: %q appears twice", i+1, f)
		}
		seen[f] = true
	}
	return nil
}

func isHex(s string, minBytes, maxBytes int) bool {
	raw, err := hex.DecodeString(s)
	return err == nil && len(raw) >= minBytes && len(raw) <= maxBytes && strings.ToLower(s) == s
}

// decodeCanonical refuses a document that is not its own canonical encoding.
func decodeCanonical(data []byte, v any) error {
	if err := strictjson.Decode(data, v); err != nil {
		return err
	}
	again, err := strictjson.Canonical(v)
	if err != nil {
		return err
	}
	if !bytes.Equal(data, again) {
		return errors.New("not in canonical form")
	}
	return nil
}
