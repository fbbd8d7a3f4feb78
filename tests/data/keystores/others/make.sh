#!/bin/sh
# Makes the keystores beside this script, which other tools or unusual settings make; needs a JDK, openssl, and NSS's
# certutil and pk12util. The tests use the committed files: run it only to change them.
# Passwords: stores "changeit"; the keys of own-passwords.p12 "<alias>-secret".
set -eu
cd "$(dirname "$0")"
rm -f ./*.p12 ./*.jks ./*.jceks ./*.txt
umask 022

pair() { # store, alias, subject, more options
    store=$1 alias=$2 subject=$3
    shift 3
    case $store in *.jks) type=JKS ;; *.jceks) type=JCEKS ;; *) type=PKCS12 ;; esac
    keytool -genkeypair -storetype $type -keystore "$store" -storepass changeit -alias "$alias" -dname "$subject" \
        -validity 36500 "$@"
}

# A DSA key beside another: its certificate has parameters that strict parsers refuse.
for store in dsa.p12 dsa.jks dsa.jceks; do
    pair $store joe CN=Joe -keyalg EC
    pair $store old CN=Old -keyalg DSA -keysize 2048
done

# Aliases that are longer than RFC 2985 allows, empty, or beyond ASCII.
pair aliases.p12 joe CN=Joe -keyalg EC
pair aliases.p12 "$(printf 'long%.0s' $(seq 100))" CN=Long -keyalg EC
pair aliases.p12 "" CN=Empty -keyalg EC
pair aliases.p12 Straße CN=Strasse -keyalg EC

# Each key with a password of its own, which keytool does not make in this format.
pair both.p12 joe CN=Joe -keyalg EC
pair both.p12 ann CN=Ann -keyalg RSA -keysize 2048
java OwnPasswords.java both.p12 own-passwords.p12
rm both.p12

# Old ways to encrypt a key.
for cipher in RC2_40 RC2_128 RC4_40 RC4_128 DESede; do
    pair "key-$cipher.p12" joe CN=Joe -keyalg EC -J-Dkeystore.pkcs12.keyProtectionAlgorithm=PBEWithSHA1And$cipher
done
pair whole-RC2_40.p12 joe CN=Joe -keyalg EC -J-Dkeystore.pkcs12.certProtectionAlgorithm=PBEWithSHA1AndRC2_40
pair iterations.p12 joe CN=Joe -keyalg EC -J-Dkeystore.pkcs12.macAlgorithm=HmacPBESHA512 \
    -J-Dkeystore.pkcs12.macIterationCount=1 -J-Dkeystore.pkcs12.keyPbeIterationCount=1

# A name in TeletexString beyond ASCII, as older certification authorities write it.
cat >name.cnf <<CNF
[req]
distinguished_name = name
string_mask = nombstr
utf8 = yes
prompt = no
[name]
O = Beispiel & Söhne
CN = Jürgen
CNF
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out cert.pem -days 36500 \
    -config name.cnf
openssl pkcs12 -export -in cert.pem -inkey key.pem -name joe -passout pass:changeit -out teletex.p12

# NSS (Firefox, Thunderbird) writes BER with indefinite lengths.
mkdir nss
printf 'changeit\n' >password
certutil -N -d nss -f password
head -c 2048 /dev/urandom >noise
certutil -S -d nss -f password -z noise -n joe -s CN=Joe -x -t u,u,u -k ec -q nistp256 -v 1200
pk12util -o nss.p12 -n joe -d nss -k password -w password
rm -r nss password noise

# Subjects of all kinds, and how Java writes them.
number=0
while read -r subject; do
    number=$((number + 1))
    pair names.p12 "n$number" "$subject" -keyalg EC
done <<'NAMES'
CN=Joe, OU=Sales, O=Example, L=Paris, ST=IDF, C=FR
EMAILADDRESS=joe@example.com, CN=Joe, O=Example
SERIALNUMBER=123, CN=Joe
GIVENNAME=Joe, SURNAME=Doe, T=Dr, CN=Joe Doe
CN=Joe, DC=example, DC=com
UID=joe, STREET=Rue 1, CN=Joe
CN="Doe, Joe \"the man\" + <co>; #1 = \\"
CN=" two blanks "
CN="#hash", O="a=b"
CN=Joe+UID=joe, O=Example
CN=Jürgen Müller, O=Straße
CN=李雷
2.5.4.5=42, 1.2.840.113549.1.9.1=a@b.c, 1.3.6.1.4.1.99999.1=x, CN=Joe
DNQUALIFIER=q, GENERATION=Jr, INITIALS=J, IP=127.0.0.1, CN=Joe
CN=a  b   c
NAMES
openssl pkcs12 -in teletex.p12 -passin pass:changeit -nokeys -out teletex.pem
keytool -importcert -noprompt -keystore names.p12 -storepass changeit -alias teletex -file teletex.pem
java Names.java names.p12 >names.txt
rm -f key.pem cert.pem name.cnf teletex.pem
