package apt

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"strings"

	"lpbuildd/backends"
	"lpbuildd/buildd/verdict"
	"lpbuildd/builders"
)

// keyring is where apt in the target finds the build's keys.
const keyring = "/etc/apt/trusted.gpg.d/launchpad-buildd.gpg"

// AddTrustedKeys writes the build's keys into the target and shows them in the
// log, the stage KEYS (spec: lifecycle.md section 8). Each key is handled by
// itself, so that one which is no key fails the stage (weakness G10).
func AddTrustedKeys(ctx context.Context, env builders.Env) error {
	env.Say("Adding trusted keys to build-%s", env.Job.BuildID)
	return builders.Blame(ctx, verdict.ChrootFail, addTrustedKeys(ctx, env),
		"The build request holds a key that cannot be used; the archive's signing key may be broken.")
}

func addTrustedKeys(ctx context.Context, env builders.Env) error {
	var ring bytes.Buffer
	for i, text := range env.Common.TrustedKeys {
		name := fmt.Sprintf("trusted_keys[%d]", i)
		key, err := decodeKey(text)
		if err != nil {
			return fmt.Errorf("%s: expected base64: %w", name, err)
		}
		var plain bytes.Buffer
		if err := gpg(ctx, env, bytes.NewReader(key), &plain, "--dearmor"); err != nil {
			return fmt.Errorf("%s: cannot remove the armour: %w", name, err)
		}
		show := []string{"--show-keys", "--keyid-format", "long", "--fingerprint"}
		if err := gpg(ctx, env, bytes.NewReader(plain.Bytes()), env.Log, show...); err != nil {
			return fmt.Errorf("%s: not an OpenPGP public key: %w", name, err)
		}
		ring.Write(plain.Bytes())
	}
	return builders.WriteText(ctx, env, keyring, ring.String())
}

// decodeKey allows base64 that is broken into lines.
func decodeKey(text string) ([]byte, error) {
	return base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
}

// gpg runs on the host as the build user. Its home is a folder that does not
// exist: these operations need none, and none must remain.
func gpg(ctx context.Context, env builders.Env, in io.Reader, out io.Writer, args ...string) error {
	argv := []string{"gpg", "--homedir", "/nonexistent/gnupg", "--ignore-time-conflict", "--no-options", "--no-keyring"}
	return env.Host.Run(ctx, backends.Command{Argv: append(argv, args...), Stdin: in, Stdout: out, Stderr: env.Log})
}
