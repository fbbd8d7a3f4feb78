import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.security.KeyStore;
import java.util.Collections;

/** Copies a PKCS #12 store and gives each key the password "ALIAS-secret". */
public class OwnPasswords {
    public static void main(String[] files) throws Exception {
        char[] password = "changeit".toCharArray();
        KeyStore from = KeyStore.getInstance("PKCS12");
        from.load(new FileInputStream(files[0]), password);
        KeyStore to = KeyStore.getInstance("PKCS12");
        to.load(null, null);
        for (String alias : Collections.list(from.aliases())) {
            char[] own = (alias + "-secret").toCharArray();
            to.setKeyEntry(alias, from.getKey(alias, password), own, from.getCertificateChain(alias));
        }
        to.store(new FileOutputStream(files[1]), password);
    }
}
