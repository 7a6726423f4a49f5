package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"
)

const (
	// maxID bounds user and group ids: 65534 is nobody, and compact EROFS inodes hold 16 bits.
	maxID = 65534
	// maxGenerated bounds a text written in a recipe.
	maxGenerated = 1 << 20
)

// Rules is what a recipe says about one layer beyond its packages. The zero value is legal and adds nothing: the
// mode and owner rules and the forbidden paths of Normalise always hold.
type Rules struct {
	// Links and Dirs are put into the empty tree before packages, so that a package's files follow the links of a
	// merged /usr.
	Links []Link
	Dirs  []string
	// Generate are the files that maintainer scripts would have made.
	Generate []Generated
	// Users and Groups are the source of generated passwd and group files.
	Users  []User
	Groups []Group
	// Remove are patterns of paths to delete; one that matches nothing is an error, because it hides a mistake.
	Remove []string
	// RemoveIfPresent are patterns of paths that only some builders make (mkosi's RemoveFiles).
	RemoveIfPresent []string
	// Owners are the only paths with another mode or owner than the rule.
	Owners []Owner
}

// Link is a symbolic link.
type Link struct {
	Path   string
	Target string
}

// GeneratedKind says how a file's bytes are made.
type GeneratedKind string

// The kinds of generated files.
const (
	// Text is the text given in the recipe, byte for byte; empty text makes an empty file.
	Text GeneratedKind = "text"
	// Certificates is the concatenation of the PEM files that From matches, bytewise by path, each ending in a newline.
	Certificates GeneratedKind = "certificates"
	// Passwd and GroupFile are written from Users and Groups.
	Passwd    GeneratedKind = "passwd"
	GroupFile GeneratedKind = "group"
)

// Generated is one generated file.
type Generated struct {
	Path string
	Kind GeneratedKind
	Text string // Text only
	From string // Certificates only: a pattern
}

// User is one account of a generated passwd file; its primary group has the same id unless GID says otherwise.
type User struct {
	Name string
	UID  uint32
	GID  uint32
	Home string // absolute
}

// Group is one line of a generated group file.
type Group struct {
	Name    string
	GID     uint32
	Members []string
}

// Owner is an exception from the mode and owner rule, for one literal path.
type Owner struct {
	Path string
	Mode uint32 // permission bits, 0..0777, and the sticky bit; never setuid or setgid
	UID  uint32
	GID  uint32
}

var accountRule = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,31}$`)

// Validate returns every broken rule, each with its path inside the rules.
func (r Rules) Validate() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for i, l := range r.Links {
		if err := checkRelative(l.Path); err != nil {
			add("links[%d].path: %w", i, err)
		}
		if err := checkTarget(l.Target); err != nil {
			add("links[%d].target: %w", i, err)
		}
	}
	for i, d := range r.Dirs {
		if err := checkRelative(d); err != nil {
			add("dirs[%d]: %w", i, err)
		}
	}
	if _, err := compilePatterns(r.Remove); err != nil {
		add("remove%w", err)
	}
	if _, err := compilePatterns(r.RemoveIfPresent); err != nil {
		add("removeIfPresent%w", err)
	}
	for i, g := range r.Generate {
		if err := g.validate(); err != nil {
			add("generate[%d]: %w", i, err)
		}
	}
	errs = append(errs, r.checkAccounts()...)
	for i, o := range r.Owners {
		if err := checkRelative(o.Path); err != nil {
			add("owners[%d].path: %w", i, err)
		}
		if o.Mode&^0o1777 != 0 {
			add("owners[%d].mode: %#o has bits outside 01777; setuid and setgid files do not exist in a layer", i, o.Mode)
		}
		if o.UID > maxID || o.GID > maxID {
			add("owners[%d]: owner %d:%d is above %d", i, o.UID, o.GID, maxID)
		}
	}
	return errors.Join(errs...)
}

func (g Generated) validate() error {
	if err := checkRelative(g.Path); err != nil {
		return fmt.Errorf("path: %w", err)
	}
	switch g.Kind {
	case Text:
		if len(g.Text) > maxGenerated {
			return fmt.Errorf("text: %d bytes, at most %d", len(g.Text), maxGenerated)
		}
	case Certificates:
		if _, err := CompilePattern(g.From); err != nil {
			return fmt.Errorf("from: %w", err)
		}
	case Passwd, GroupFile:
	default:
		return fmt.Errorf("kind: %q is none of %s, %s, %s, %s", g.Kind, Text, Certificates, Passwd, GroupFile)
	}
	if g.Kind != Text && g.Text != "" {
		return fmt.Errorf("text: given for kind %q", g.Kind)
	}
	if g.Kind != Certificates && g.From != "" {
		return fmt.Errorf("from: given for kind %q", g.Kind)
	}
	return nil
}

func (r Rules) checkAccounts() []error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	gids, names := map[uint32]string{}, map[string]bool{}
	for i, g := range r.Groups {
		if old, ok := gids[g.GID]; ok {
			add("groups[%d].gid: %d is the id of %q already", i, g.GID, old)
		}
		if !accountRule.MatchString(g.Name) || g.GID > maxID {
			add("groups[%d].name, gid: %q, %d: want %s and at most %d", i, g.Name, g.GID, accountRule, maxID)
		}
		gids[g.GID] = g.Name
	}
	uids := map[uint32]string{}
	for i, u := range r.Users {
		if old, ok := uids[u.UID]; ok {
			add("users[%d].uid: %d is the id of %q already", i, u.UID, old)
		}
		if _, ok := gids[u.GID]; !ok {
			add("users[%d].gid: %d is the id of no group", i, u.GID)
		}
		if names[u.Name] {
			add("users[%d].name: %q appears twice", i, u.Name)
		}
		if err := u.validate(); err != nil {
			add("users[%d].%w", i, err)
		}
		uids[u.UID], names[u.Name] = u.Name, true
	}
	for i, g := range r.Groups {
		for _, m := range g.Members {
			if !names[m] {
				add("groups[%d].members: %q is not a user", i, m)
			}
		}
	}
	return errs
}

func (u User) validate() error {
	switch {
	case !accountRule.MatchString(u.Name):
		return fmt.Errorf("name: %q does not match %s", u.Name, accountRule)
	case u.UID > maxID:
		return fmt.Errorf("uid: %d is above %d", u.UID, maxID)
	case !path.IsAbs(u.Home) || strings.ContainsAny(u.Home, ":\n"):
		return fmt.Errorf("home: %q is not an absolute path", u.Home)
	}
	return nil
}

// Prepare puts a layer's links and directories into the tree, before its packages.
func Prepare(t *Tree, r Rules) error {
	for _, l := range r.Links {
		if err := t.Add(l.Path, &Inode{Type: Symlink, Mode: 0o777, Target: l.Target, Origin: OriginRecipe}); err != nil {
			return fmt.Errorf("preparing links: %w", err)
		}
	}
	for _, d := range r.Dirs {
		if err := t.Add(d, &Inode{Type: Dir, Mode: 0o755, Origin: OriginRecipe}); err != nil {
			return fmt.Errorf("preparing directories: %w", err)
		}
	}
	return nil
}

// checkRelative accepts the literal path of one thing below the root.
func checkRelative(p string) error {
	clean, err := CleanPath(p)
	if err != nil {
		return err
	}
	if clean != p || !fs.ValidPath(p) || p == "." {
		return fmt.Errorf("path %q is not a clean relative path", p)
	}
	return nil
}
