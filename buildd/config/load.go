package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/viper"
)

// Sources are where a configuration comes from, besides the defaults. Set wins
// over Flags, they over an environment variable LPBUILDD_<SECTION>_<KEY>, that
// over the file.
type Sources struct {
	// File is the path of the configuration file. One that is missing counts as
	// empty, and is mentioned if anything is wrong then.
	File string
	// Environ looks up an environment variable, as os.LookupEnv does.
	Environ func(name string) (string, bool)
	// Flags are those of the command line that stand for one key.
	Flags []Flag
	// Set are the values of --set, "section.key=value" each.
	Set []string
}

// Flag is a flag that stands for a key.
type Flag struct {
	// Name is what people type, e.g. "--bindport".
	Name string
	// Key is "section.key".
	Key, Value string
}

// DefaultFile is the configuration file where nobody names one: that of
// BUILDD_CONFIG, else buildd-example.conf in the current folder.
func DefaultFile(environ func(name string) (string, bool)) string {
	if path, ok := environ("BUILDD_CONFIG"); ok && path != "" {
		return path
	}
	return "buildd-example.conf"
}

// Load puts the configuration together.
//
// The origins are those of all known keys, plus one with a Warning for each
// thing in the file that has no effect. They are complete even if there is an
// error, which joins everything that is wrong.
func Load(s Sources) (Config, []Origin, error) {
	l := newLoader()
	// A service has its log file where launchpad-buildd had it.
	if dir, _ := s.Environ("LOGS_DIRECTORY"); dir != "" {
		l.viper.SetDefault("log.file", filepath.Join(dir, filepath.Base(s.File)+".log"))
	}
	l.readFile(s.File)
	l.readEnviron(s.Environ)
	for _, f := range s.Flags {
		l.override(f)
	}
	l.readSet(s.Set)

	var c Config
	for _, s := range Settings() {
		l.apply(&c, s)
	}
	if c.Container.Instance == "" {
		c.Container.Instance = instanceOf(l.path)
		if host, err := os.Hostname(); err == nil && c.Container.Remote != "" {
			// Builders of several machines meet there.
			c.Container.Instance = instanceOf(l.path + "-" + host)
		}
	}
	if l.noFile != nil && len(l.problems) > 0 {
		l.fail(fmt.Errorf("there is no configuration file: %w", l.noFile))
	}
	return c, append(l.origins, l.warnings()...), errors.Join(l.problems...)
}

// Problems lists what an error of this package joins: all that is wrong with a
// configuration.
func Problems(err error) []error {
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		return joined.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

// instanceOf is the name of the builder that a file configures: the name of
// the file, as far as it can be part of the name of a container.
func instanceOf(path string) string {
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(filepath.Base(path)))
	return cmp.Or(strings.Trim(name, "-"), "default")
}

// loader is the state of Load.
type loader struct {
	viper    *viper.Viper
	ini      iniDecoder
	path     string
	unread   bool              // the file could not be read or has errors of syntax
	noFile   error             // why there is no file, if that is not an error by itself
	from     map[string]string // key to origin, defaults left out
	origins  []Origin
	problems []error
}

func newLoader() *loader {
	l := &loader{from: map[string]string{}}
	l.viper = viper.NewWithOptions(viper.WithDecoderRegistry(&l.ini))
	for _, s := range Settings() {
		l.viper.SetDefault(s.Name(), s.Default)
	}
	return l
}

// readFile reads the configuration file, if there is one.
func (l *loader) readFile(path string) {
	l.path = path
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		l.noFile = err
		return
	}
	if err != nil {
		l.unread = true
		l.fail(fmt.Errorf("cannot read the configuration: %w", err))
		return
	}
	l.viper.SetConfigType("ini")
	if err := l.viper.ReadConfig(strings.NewReader(string(data))); err != nil {
		l.unread = true
		l.fail(l.located(err)...)
		return
	}
	for _, s := range Settings() {
		if o, ok := l.ini.file.option(s.Section, s.Key); ok {
			l.from[s.Name()] = fmt.Sprintf("%s:%d", path, o.line)
		}
	}
}

// located puts the path in front of the problems of the INI reader.
func (l *loader) located(err error) []error {
	var located []error
	for _, p := range Problems(err) {
		if at := (*iniError)(nil); errors.As(p, &at) {
			p = fmt.Errorf("%s:%d: %s", l.path, at.line, at.text)
		}
		located = append(located, p)
	}
	return located
}

// readEnviron puts the environment's values over those of the file.
func (l *loader) readEnviron(environ func(string) (string, bool)) {
	for _, s := range Settings() {
		name := s.variable()
		value, ok := environ(name)
		if !ok {
			continue
		}
		l.from[s.Name()] = name
		if err := l.viper.MergeConfigMap(map[string]any{s.Section: map[string]any{s.Key: value}}); err != nil {
			l.fail(fmt.Errorf("cannot use the environment variable %s: %w", name, err))
		}
	}
}

// readSet puts the values of --set over all others.
func (l *loader) readSet(texts []string) {
	for _, text := range texts {
		key, value, ok := strings.Cut(text, "=")
		key = strings.ToLower(strings.TrimSpace(key))
		if !ok || !isSetting(key) {
			l.fail(fmt.Errorf("--set %q: want section.key=value with a key that exists%s", redact(text), didYouMean(key, settingNames())))
			continue
		}
		l.override(Flag{Name: "--set", Key: key, Value: strings.TrimSpace(value)})
	}
}

// override sets a key to the value of a flag.
func (l *loader) override(f Flag) {
	l.viper.Set(f.Key, f.Value)
	l.from[f.Key] = f.Name
}

// apply checks the value of one key and stores it.
func (l *loader) apply(c *Config, s Setting) {
	value := l.viper.GetString(s.Name())
	o := Origin{Key: s.Name(), Value: redact(value), From: "default"}
	from, given := l.from[s.Name()]
	if given {
		o.From = from
	}
	l.origins = append(l.origins, o)
	if broken := l.ini.broken[s.Name()]; broken != nil && strings.HasPrefix(from, l.path+":") {
		l.fail(&valueError{Origin: o, Want: s.Want, Err: broken})
		return
	}
	if s.mandatory && strings.TrimSpace(value) == "" {
		if !given && l.unread {
			return // it may be in what could not be read
		}
		if !given {
			o.From = ""
		}
		l.fail(&valueError{Origin: o, Want: s.Want})
		return
	}
	if err := s.store(c, value); err != nil {
		if errors.Is(err, errNotWanted) {
			err = nil
		}
		l.fail(&valueError{Origin: o, Want: s.Want, Err: err})
	}
}

// fail records problems.
func (l *loader) fail(errs ...error) { l.problems = append(l.problems, errs...) }

// warnings lists what in the file has no effect.
func (l *loader) warnings() []Origin {
	if l.ini.file == nil {
		return nil
	}
	var all []Origin
	for _, s := range l.ini.file.sections[1:] {
		at := fmt.Sprintf("%s:%d", l.path, s.line)
		if warning := sectionWarning(s.name); warning != "" {
			all = append(all, Origin{Key: s.name, From: at, Warning: warning})
			continue
		}
		for _, o := range s.options {
			if name := s.name + "." + o.key; !isSetting(name) {
				all = append(all, Origin{
					Key:     name,
					Value:   redact(o.value),
					From:    fmt.Sprintf("%s:%d", l.path, o.line),
					Warning: "unknown key" + didYouMean(name, settingNames()) + "; it is ignored",
				})
			}
		}
	}
	return all
}
