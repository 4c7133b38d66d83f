package debian

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"unicode"

	"lpbuildd/backends"
	"lpbuildd/buildd/verdict"
	"lpbuildd/builders"
)

// schrootFolder is where schroot reads its configuration.
const schrootFolder = "/etc/schroot/chroot.d/"

// registerChroot makes the target known to schroot, through which sbuild
// enters it (spec: builders.md section 2.2). The clean-up of the build removes
// the file.
func registerChroot(ctx context.Context, env builders.Env) error {
	if env.TargetRoot == "" || strings.ContainsFunc(env.TargetRoot, unicode.IsControl) {
		return fmt.Errorf("cannot name the target's folder %q to schroot", env.TargetRoot)
	}
	name := chrootName(env.Job.BuildID)
	path := schrootFolder + name
	if err := env.Undo(path); err != nil {
		return fmt.Errorf("cannot note %s for removal: %w", path, err)
	}
	config := fmt.Sprintf("[%s]\ndescription=%s\ngroups=sbuild,root\nroot-groups=sbuild,root\ntype=plain\ndirectory=%s\n",
		name, name, env.TargetRoot)
	err := env.Root.Run(ctx, backends.Command{
		Argv:   []string{"install", "-o", "root", "-g", "root", "-m", "0644", "/dev/stdin", path},
		Stdin:  strings.NewReader(config),
		Stdout: env.Log,
		Stderr: env.Log,
	})
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	return nil
}

// chrootName is build-<id>, as far as schroot takes it for the name of a
// chroot and of a file: others are replaced by something as unique (weakness
// K8).
func chrootName(buildID string) string {
	plain := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '_'
	}, buildID)
	if plain == buildID && len(plain) <= 100 {
		return "build-" + plain
	}
	sum := sha256.Sum256([]byte(buildID))
	return fmt.Sprintf("build-%.100s-%x", plain, sum[:8])
}

// maxDatabase limits how much of the target's user database is read.
const maxDatabase = 16 << 20

// shareSbuildUser gives the target the host's sbuild user and group, under
// whose ids sbuild works in it, and the folder that sbuild builds in. An entry
// of that name is replaced, not duplicated (weakness K3).
func shareSbuildUser(ctx context.Context, env builders.Env) error {
	for _, database := range []string{"group", "passwd"} {
		entry, err := env.OnHost(ctx, "getent", database, "sbuild")
		if err != nil {
			return builders.Blame(ctx, verdict.BuilderFail, fmt.Errorf("cannot find sbuild in the host's %s database: %w", database, err),
				"Install sbuild on the builder.")
		}
		if err := shareEntry(ctx, env, "/etc/"+database, strings.TrimRight(entry, "\n")); err != nil {
			return builders.Blame(ctx, verdict.ChrootFail, err, "Check /etc/passwd and /etc/group of the base image.")
		}
	}
	if err := env.InTarget(ctx, "chown", "sbuild:sbuild", "/build"); err != nil {
		return builders.Blame(ctx, verdict.ChrootFail, fmt.Errorf("cannot give /build in the target to sbuild: %w", err),
			"The base image needs a folder /build.")
	}
	return nil
}

func shareEntry(ctx context.Context, env builders.Env, path, entry string) error {
	old, err := backends.ReadFile(ctx, env.Target, path, maxDatabase)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot read %s in the target: %w", path, err)
	}
	updated := withEntry(string(old), entry)
	if updated == string(old) {
		return nil
	}
	return builders.WriteText(ctx, env, path, updated)
}

// withEntry returns a user database in which entry is the only one of its
// name.
func withEntry(database, entry string) string {
	name, _, _ := strings.Cut(entry, ":")
	var b strings.Builder
	placed := false
	for line := range strings.Lines(database) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, name+":") {
			if placed {
				continue
			}
			line, placed = entry, true
		}
		b.WriteString(line + "\n")
	}
	if !placed {
		b.WriteString(entry + "\n")
	}
	return b.String()
}
