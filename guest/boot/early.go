package boot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path"
	"slices"
	"strings"

	"cocoon/guest/modules"
	"cocoon/guest/mounts"
	"cocoon/measure/bootfiles"
)

const (
	// maxBootFile bounds the measured files of the initrd; the largest, layers.json, is below 8 KiB.
	maxBootFile = 64 << 10
	// maxCmdline bounds /proc/cmdline; x86 takes 2048 bytes (COMMAND_LINE_SIZE).
	maxCmdline = 2048
	// ovmfInitrdWord is what OVMF adds to the command line in the kernel+initrd form (image.md section 15).
	ovmfInitrdWord = "initrd=initrd"
	// configfsModule carries the file system that quotes are asked through.
	configfsModule = "configfs.ko"
)

// runConsole opens the kernel log and learns what this image is.
func runConsole(_ context.Context, st *State) error {
	kmsg, err := st.deps.OpenKmsg()
	if err != nil {
		return fmt.Errorf("opening the kernel log: %w", err)
	}
	st.deps.Log.SetKmsg(kmsg)
	raw, err := st.readBootFile(bootfiles.ImagePath)
	if err != nil {
		return err
	}
	if st.Image, err = bootfiles.ParseImage(raw); err != nil {
		return err
	}
	st.Detail("image", st.Image.Name)
	st.Detail("variant", string(st.Image.Variant))
	st.Detail("version", st.Image.Version)
	return nil
}

func runMounts(_ context.Context, st *State) error {
	entries := mounts.Namespace()
	st.Detail("entries", len(entries))
	if err := mounts.Apply(st.deps.Kernel, entries); err != nil {
		return err
	}
	// Our status lines must not fall to the rate limit that /dev/kmsg has for user space.
	return st.setSysctl(sysctl{"kernel.printk_devkmsg", "on"})
}

// runCmdline is a second line of defence: the first is RTMR2, which every command line changes.
func runCmdline(_ context.Context, st *State) error {
	baked, err := st.readBootFile(bootfiles.CmdlinePath)
	if err != nil {
		return err
	}
	given, err := st.readBounded("/proc/cmdline", maxCmdline)
	if err != nil {
		return err
	}
	st.Cmdline, err = CheckCmdline(string(given), string(baked))
	return err
}

// CheckCmdline compares the kernel's command line with the one baked into the initrd and returns the latter. The
// kernel's form may end with one newline and carry the one word OVMF adds, in front or behind.
func CheckCmdline(given, baked string) (string, error) {
	given = strings.TrimSuffix(given, "\n")
	if err := checkWords(baked); err != nil {
		return "", fmt.Errorf("checking %s: %w", bootfiles.CmdlinePath, err)
	}
	if slices.Contains([]string{baked, ovmfInitrdWord + " " + baked, baked + " " + ovmfInitrdWord}, given) {
		return baked, nil
	}
	return "", fmt.Errorf("checking the kernel command line: %q is not the measured %q; start the image without -append", given, baked)
}

// checkWords refuses what different parsers of the command line could read differently.
func checkWords(line string) error {
	if len(line) > maxCmdline {
		return fmt.Errorf("%d bytes, at most %d", len(line), maxCmdline)
	}
	if i := strings.IndexFunc(line, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\'' }); i >= 0 {
		return fmt.Errorf("byte %d is a quote or not printable ASCII", i)
	}
	seen := make(map[string]bool)
	for word := range strings.SplitSeq(line, " ") {
		key, _, _ := strings.Cut(word, "=")
		key = strings.ReplaceAll(key, "-", "_") // the kernel takes both for the same parameter
		switch {
		case key == "":
			return errors.New("an empty word")
		case seen[key]:
			return fmt.Errorf("key %q appears twice", key)
		}
		seen[key] = true
	}
	return nil
}

func runModules(ctx context.Context, st *State) error {
	raw, err := st.readBootFile(bootfiles.ModulesOrderPath)
	if err != nil {
		return err
	}
	order, err := bootfiles.ParseModulesOrder(raw)
	if err != nil {
		return err
	}
	// Outside a TD tdx_guest finds no hardware; what that means is for the td stage to say.
	loader := modules.Loader{
		Dir:         st.path(path.Join("/", bootfiles.ModulesDir)),
		Insert:      st.deps.InsertModule,
		MayBeAbsent: []string{"tdx_guest"},
	}
	res, err := loader.Load(ctx, order)
	st.Detail("loaded", res.Loaded)
	if len(res.Absent) > 0 {
		st.Detail("absent", res.Absent)
	}
	if err != nil {
		return err
	}
	if slices.Contains(order, configfsModule) {
		return mounts.Apply(st.deps.Kernel, mounts.AfterModules())
	}
	st.Log.Info("No configfs module, quotes cannot be asked for", slog.String("file", bootfiles.ModulesOrderPath))
	return nil
}

func (st *State) readBootFile(name string) ([]byte, error) {
	return st.readBounded(path.Join("/", name), maxBootFile)
}

func (st *State) readBounded(abs string, limit int64) ([]byte, error) {
	f, err := os.Open(st.path(abs))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", abs, err)
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", abs, err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("reading %s: longer than %d bytes", abs, limit)
	}
	return data, nil
}
