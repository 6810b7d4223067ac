import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.FileInputStream;
import java.security.KeyStore;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLException;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManagerFactory;

/** PORT TRUST [OWN PASSWORD]: says hello through a guarded door, with a length before it, and prints what comes back. */
public class Echo {
    public static void main(String[] arguments) throws Exception {
        try (var socket = open(arguments)) {
            var parameters = socket.getSSLParameters();
            parameters.setEndpointIdentificationAlgorithm("HTTPS");
            socket.setSSLParameters(parameters);
            var out = new DataOutputStream(socket.getOutputStream());
            out.writeInt(5);
            out.writeBytes("hello");
            out.flush();
            var in = new DataInputStream(socket.getInputStream());
            var heard = new String(in.readNBytes(in.readInt()));
            System.out.println("heard " + heard + " " + socket.getSession().getProtocol());
        } catch (SSLException refused) {
            System.out.println("refused " + refused.getMessage());
        }
    }

    static SSLSocket open(String[] arguments) throws Exception {
        var trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(load(arguments[1], null));
        var own = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        if (arguments.length > 2) {
            own.init(load(arguments[2], arguments[3].toCharArray()), arguments[3].toCharArray());
        } else {
            own.init(null, null);
        }
        var context = SSLContext.getInstance("TLS");
        context.init(own.getKeyManagers(), trust.getTrustManagers(), null);
        return (SSLSocket) context.getSocketFactory().createSocket("localhost", Integer.parseInt(arguments[0]));
    }

    static KeyStore load(String path, char[] password) throws Exception {
        var store = KeyStore.getInstance("PKCS12");
        try (var file = new FileInputStream(path)) {
            store.load(file, password);
        }
        return store;
    }
}
