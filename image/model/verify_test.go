package model_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cocoon/image/model"
	"cocoon/image/verity"
)

func TestVerifyComparesFilesWithTheDescription(t *testing.T) {
	t.Parallel()
	dir := folder(t, plainFiles())
	erofs, erofsDescription := volume(t, dir, options())
	tarDescription, tar, hashes := archive(t, dir)
	both := filepath.Join(t.TempDir(), "both.img")
	bothDescription, err := model.BuildTar(context.Background(), dir, both, "", options())
	if err != nil {
		t.Fatal(err)
	}
	if want := slices.Concat(readFile(t, tar), readFile(t, hashes)); !bytes.Equal(want, readFile(t, both)) {
		t.Error("the one file is not the two, one behind the other")
	}
	if bothDescription.Identity != tarDescription.Identity || bothDescription.HashStartBlock != bothDescription.DataBlocks+1 {
		t.Errorf("%+v", bothDescription)
	}
	flipped := func(name string, at int64) string {
		data := readFile(t, name)
		data[at] ^= 1
		out := filepath.Join(t.TempDir(), "copy")
		if err := os.WriteFile(out, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return out
	}
	cases := map[string]struct {
		description    *model.Description
		volume, hashes string
		want           string // empty: accepted
	}{
		"erofs":               {erofsDescription, erofs, "", ""},
		"tar":                 {tarDescription, tar, hashes, ""},
		"joined tar":          {bothDescription, both, "", ""},
		"flipped joined tree": {bothDescription, flipped(both, int64(len(readFile(t, both)))-1), "", "block 0 of hash tree level 0"},
		"hashes of a joined":  {bothDescription, both, hashes, "name no hash file"},
		"flipped data":        {erofsDescription, flipped(erofs, 5000), "", "data block 1 does not match"},
		"flipped tree":        {erofsDescription, flipped(erofs, int64(len(readFile(t, erofs)))-1), "", "block 0 of hash tree level 0"},
		"flipped archive":     {tarDescription, flipped(tar, 20000), hashes, "data block 4 does not match"},
		"flipped hash file":   {tarDescription, tar, flipped(hashes, 4096), "block 0 of hash tree level 0"},
		"the other form":      {erofsDescription, tar, "", "the description says"},
		"no hash file":        {tarDescription, tar, "", "name it too"},
		"needless hash file":  {erofsDescription, erofs, hashes, "name no hash file"},
		"absent":              {erofsDescription, erofs + ".absent", "", "no such file"},
		"absent hash file":    {tarDescription, tar, hashes + ".absent", "no such file"},
		"another description": {&model.Description{}, erofs, "", "rootHash"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := c.description.Verify(context.Background(), c.volume, c.hashes)
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("error %v, want one that has %q", err, c.want)
			}
			var bad *verity.BadBlockError
			if strings.HasPrefix(name, "flipped") && !errors.As(err, &bad) {
				t.Errorf("error %v names no block", err)
			}
		})
	}
}
