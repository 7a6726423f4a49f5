package recipe

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/pelletier/go-toml/v2"

	"cocoon/measure/bootfiles"
)

const (
	// documentName is the file with everything that mkosi cannot express.
	documentName = "image.toml"
	// documentVersion is the schema's version.
	documentVersion = 1
	// maxDocument bounds image.toml; ours is about 10 kB.
	maxDocument = 1 << 20
)

// document is image.toml as it is written.
type document struct {
	Version  int                     `toml:"version"`
	Go       string                  `toml:"go"`
	Suites   map[string]suiteTable   `toml:"suites"`
	Accounts accountTable            `toml:"accounts"`
	Layers   map[string]layerTable   `toml:"layers"`
	Groups   map[string]groupTable   `toml:"groups"`
	Kernel   Kernel                  `toml:"kernel"`
	Stub     Stub                    `toml:"stub"`
	Firmware Firmware                `toml:"firmware"`
	Modules  map[string][]string     `toml:"modules"`
	Images   map[string]imageTable   `toml:"images"`
	Variants map[string]variantTable `toml:"variants"`
	Builds   map[string][]string     `toml:"builds"`
}

type suiteTable struct {
	Mirror        string    `toml:"mirror"`
	Snapshot      string    `toml:"snapshot"`
	Components    []string  `toml:"components"`
	Keyring       []string  `toml:"keyring"` // files of mkosi/
	AcceptExpired time.Time `toml:"accept_expired"`
}

// packageTable is what layers and groups share.
type packageTable struct {
	Profile string            `toml:"profile"`
	Suites  []string          `toml:"suites"`
	Choices map[string]string `toml:"choices"`
	Exclude map[string]string `toml:"exclude"` // package -> reason
}

type groupTable struct {
	packageTable
	NoDepends bool     `toml:"no_depends"`
	Optional  bool     `toml:"optional"`
	Pinned    []Pinned `toml:"pinned"`
}

type layerTable struct {
	packageTable
	// Extends names a layer whose table this one starts from: lists and tables are added to, single values replaced.
	Extends  string              `toml:"extends"`
	Role     bootfiles.Role      `toml:"role"`
	Files    map[string][]string `toml:"files"`
	Drop     []string            `toml:"drop"`
	Remove   []string            `toml:"remove"`
	Links    map[string]string   `toml:"links"` // path -> target
	Dirs     []string            `toml:"dirs"`
	Generate []generateTable     `toml:"generate"`
	Owners   []ownerTable        `toml:"owners"`
}

type generateTable struct {
	Path string `toml:"path"`
	Kind string `toml:"kind"`
	Text string `toml:"text"`
	From string `toml:"from"`
}

type ownerTable struct {
	Path string `toml:"path"`
	Mode uint32 `toml:"mode"`
	UID  uint32 `toml:"uid"`
	GID  uint32 `toml:"gid"`
}

type accountTable struct {
	Users  []userTable  `toml:"users"`
	Groups []groupEntry `toml:"groups"`
}

type userTable struct {
	Name string `toml:"name"`
	UID  uint32 `toml:"uid"`
	GID  uint32 `toml:"gid"`
	Home string `toml:"home"`
}

type groupEntry struct {
	Name    string   `toml:"name"`
	GID     uint32   `toml:"gid"`
	Members []string `toml:"members"`
}

type imageTable struct {
	Profile string   `toml:"profile"`
	Layers  []string `toml:"layers"`
	Modules []string `toml:"modules"` // names of module sets
	Cmdline []string `toml:"cmdline"`
}

type variantTable struct {
	Modules []string          `toml:"modules"`
	Replace map[string]string `toml:"replace"`
}

// parseDocument decodes image.toml strictly; errors name file, line and key.
func parseDocument(data []byte) (document, error) {
	var doc document
	if len(data) > maxDocument {
		return doc, fmt.Errorf("%s: %d bytes, at most %d", documentName, len(data), maxDocument)
	}
	dec := toml.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&doc); err != nil {
		return document{}, positioned(err)
	}
	if doc.Version != documentVersion {
		return document{}, fmt.Errorf("%s: version %d, this program reads %d", documentName, doc.Version, documentVersion)
	}
	return doc, nil
}

// positioned turns the library's errors into one line per finding.
func positioned(err error) error {
	if strict := (*toml.StrictMissingError)(nil); errors.As(err, &strict) {
		errs := make([]error, 0, len(strict.Errors))
		for i := range strict.Errors {
			line, _ := strict.Errors[i].Position()
			errs = append(errs, fmt.Errorf("%s:%d: unknown key %s", documentName, line, joinKey(strict.Errors[i].Key())))
		}
		return errors.Join(errs...)
	}
	if decode := (*toml.DecodeError)(nil); errors.As(err, &decode) {
		line, _ := decode.Position()
		return fmt.Errorf("%s:%d: %w", documentName, line, err)
	}
	return fmt.Errorf("%s: %w", documentName, err)
}

func joinKey(key toml.Key) string {
	var out bytes.Buffer
	for i, part := range key {
		if i > 0 {
			out.WriteByte('.')
		}
		out.WriteString(part)
	}
	return out.String()
}
