import java.io.FileInputStream;
import java.io.PrintStream;
import java.security.KeyStore;
import java.security.cert.X509Certificate;
import java.util.Collections;

/** Prints each alias and the subject of its certificate as X500Principal.getName() writes it. */
public class Names {
    public static void main(String[] files) throws Exception {
        KeyStore store = KeyStore.getInstance("PKCS12");
        store.load(new FileInputStream(files[0]), "changeit".toCharArray());
        PrintStream out = new PrintStream(System.out, true, "UTF-8");
        for (String alias : Collections.list(store.aliases())) {
            X509Certificate certificate = (X509Certificate) store.getCertificate(alias);
            out.println(alias + "\t" + certificate.getSubjectX500Principal().getName());
        }
    }
}
