#!/bin/sh
# Makes the keystores beside this script; needs keytool (a JDK) and openssl. The tests use the committed files: run it
# only to change them. Everything is valid for 100 years, save what is called expired or future.
# Passwords: stores "changeit"; the keys of users.jks and users.jceks "<alias>-secret".
set -eu
cd "$(dirname "$0")"
rm -f ./*.p12 ./*.jks ./*.jceks ./*.pem
umask 022

pair() { # store, alias, subject, more options
    store=$1 alias=$2 subject=$3
    shift 3
    case $store in *.jks) type=JKS ;; *.jceks) type=JCEKS ;; *) type=PKCS12 ;; esac
    case " $* " in *" -validity "*) ;; *) set -- "$@" -validity 36500 ;; esac
    case " $* " in *" -keyalg "*) ;; *) set -- "$@" -keyalg EC ;; esac
    keytool -genkeypair -storetype $type -keystore "$store" -storepass changeit -alias "$alias" -dname "$subject" "$@"
}
trust() { # store, type, alias, certificate
    keytool -importcert -noprompt -storetype "$2" -keystore "$1" -storepass changeit -alias "$3" -file "$4"
}
sign() { # store, alias, subject's other names
    keytool -certreq -keystore "$1" -storepass changeit -alias "$2" |
        keytool -gencert -rfc -keystore authority.p12 -storepass changeit -alias authority -validity 36500 \
            -ext "san=$3" >"$2.pem"
    cat ca.pem "$2.pem" >bundle.pem
    keytool -importcert -noprompt -keystore "$1" -storepass changeit -alias "$2" -file bundle.pem
}
copy() { # from, to, type
    keytool -importkeystore -noprompt -srckeystore "$1" -srcstorepass changeit -destkeystore "$2" -deststoretype "$3" \
        -deststorepass changeit
}

# A certification authority, and a server certificate that it signed, in the three formats.
pair authority.p12 authority "CN=Test Authority,O=Example" -ext bc:c
keytool -exportcert -rfc -keystore authority.p12 -storepass changeit -alias authority -file ca.pem
pair server.p12 server "CN=localhost,O=Example"
sign server.p12 server dns:localhost,ip:127.0.0.1,ip:::1
copy server.p12 server.jks JKS
copy server.p12 server.jceks JCEKS

# Truststores; and a server's keystore that trusts the issuer too.
trust truststore.jks JKS Authority ca.pem
trust truststore.jceks JCEKS Authority ca.pem
trust truststore.p12 PKCS12 Authority ca.pem
copy server.p12 both.p12 PKCS12
trust both.p12 PKCS12 authority ca.pem
openssl x509 -in ca.pem -outform DER -out certificate.pem && mv certificate.pem certificate.jks # a wrong name on purpose

# Several server keys.
pair hosts.p12 exact "CN=exact" -ext san=dns:www.example.com
pair hosts.p12 wildcard "CN=wildcard" -ext "san=dns:*.example.com"
pair hosts.p12 old "CN=old" -ext san=dns:renewed.example.net -startdate -3y -validity 365
pair hosts.p12 renewed "CN=renewed" -ext san=dns:renewed.example.net
pair hosts.p12 expired "CN=expired" -ext san=dns:expired.example.net -startdate -3y -validity 365
pair hosts.p12 future "CN=future" -ext san=dns:future.example.net -startdate +90y -validity 3650
pair hosts.p12 common-name "CN=cn.example.net"
pair hosts.p12 dsa "CN=dsa" -keyalg DSA -keysize 2048
sign hosts.p12 dsa dns:dsa.example.net
pair hosts.p12 weak "CN=weak" -ext san=dns:weak.example.net -keyalg RSA -keysize 512 -sigalg SHA1withRSA

# Users, each key with a password of its own where the format has that.
for store in users.jks users.jceks; do
    pair $store Alice "CN=Alice,OU=Sales+OU=Test,O=Example\\, Inc" -keypass Alice-secret
    pair $store bob "CN=Bob" -keypass bob-secret -keyalg RSA -keysize 2048
    pair $store expired "CN=Expired" -keypass expired-secret -startdate -3y -validity 365
    pair $store future "CN=Future" -keypass future-secret -startdate +90y -validity 3650
    case $store in *.jks) type=JKS ;; *) type=JCEKS ;; esac
    trust $store $type authority ca.pem
done
keytool -genseckey -keyalg AES -keysize 128 -storetype JCEKS -keystore users.jceks -storepass changeit -alias secret \
    -keypass secret-secret
pair users.p12 Alice "CN=Alice,OU=Sales+OU=Test,O=Example\\, Inc"
pair users.p12 bob "CN=Bob" -keyalg RSA -keysize 2048
pair users.p12 expired "CN=Expired" -startdate -3y -validity 365
keytool -genseckey -keyalg AES -keysize 128 -keystore users.p12 -storepass changeit -alias secret

# What other tools, other times and other settings made.
pair legacy.p12 old "CN=Old" -J-Dkeystore.pkcs12.legacy
pair no-mac.p12 bob "CN=Bob" -J-Dkeystore.pkcs12.certProtectionAlgorithm=NONE -J-Dkeystore.pkcs12.macAlgorithm=NONE
openssl pkcs12 -in server.p12 -passin pass:changeit -nodes -out all.pem
openssl pkcs12 -export -in all.pem -out named.p12 -name openssl -passout pass:changeit
openssl pkey -in all.pem -out key.pem
openssl pkcs12 -export -in all.pem -inkey key.pem -out unnamed.p12 -passout pass:changeit
openssl pkcs12 -export -in server.pem -inkey key.pem -keypbe NONE -name bare -out unencrypted-key.p12 -passout pass:changeit
openssl pkcs12 -export -nokeys -in ca.pem -out certificates-only.p12 -passout pass:changeit
trust empty.jks JKS gone ca.pem
keytool -delete -keystore empty.jks -storepass changeit -alias gone
rm -f all.pem authority.p12 bundle.pem server.pem dsa.pem
mv key.pem with-key.pem
