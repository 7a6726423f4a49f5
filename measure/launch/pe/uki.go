package pe

import "fmt"

// ukiOrder is the order in which systemd-stub measures the sections it finds (src/fundamental/uki.h of systemd 257);
// .pcrsig is not measured.
func ukiOrder() []string {
	return []string{
		".linux", ".osrel", ".cmdline", ".initrd", ".ucode", ".splash", ".dtb", ".uname", ".sbat", ".pcrpkey",
		".profile", ".dtbauto", ".hwids",
	}
}

// Names of the sections a UKI of ours consists of (image.md section 8.1).
const (
	SectionLinux   = ".linux"
	SectionCmdline = ".cmdline"
	SectionInitrd  = ".initrd"
	SectionOSRel   = ".osrel"
)

// Content is a measured section of a UKI.
type Content struct {
	Name string
	Data []byte // a view into the image
}

// UKI lists the measured sections of a unified kernel image in measuring order. An image without .linux is refused.
func (img *Image) UKI() ([]Content, error) {
	var out []Content
	for _, name := range ukiOrder() {
		data, ok, err := img.Section(name)
		if err != nil {
			return nil, err
		}
		if ok && len(data) > 0 {
			out = append(out, Content{Name: name, Data: data})
		}
	}
	if len(out) == 0 || out[0].Name != SectionLinux {
		return nil, fmt.Errorf("%w: no %s section; this is not a unified kernel image", ErrFormat, SectionLinux)
	}
	return out, nil
}
