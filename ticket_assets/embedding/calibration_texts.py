"""What `quantisation` shows an encoder: tickets, and texts that are as unlike them as mail gets."""

TEXTS = (
    "Imprimante en panne\nBonjour, l'imprimante du deuxième étage n'imprime plus depuis ce "
    "matin. Le voyant clignote en orange et rien ne sort. Pouvez-vous passer ? Merci "
    "d'avance.",
    "VPN\nLa connexion au VPN tombe toutes les dix minutes quand je suis en télétravail, "
    "je dois saisir le code à chaque fois. J'ai déjà redémarré la box et le poste.",
    "Mot de passe oublié\nBonjour, j'ai oublié le mot de passe de ma session Windows après "
    "les congés, mon compte est bloqué. Je suis joignable au standard. Cordialement",
    "URGENT : plus d'accès à la messagerie\nPlus personne au service comptabilité ne "
    "reçoit de courriel depuis 8 h 30 ! La clôture est ce soir, c'est bloquant pour toute "
    "l'équipe.",
    "Demande d'écran\nPourrais-je avoir un second écran et un câble HDMI pour mon bureau ? "
    "Ma responsable est d'accord.",
    "Facture en double\nBonjour, la facture n° [NUMERO] du mois de mars nous a été "
    "prélevée deux fois. Merci de procéder au remboursement de l'une des deux. Vous "
    "trouverez les relevés en pièce jointe.",
    "Arrivée d'une collaboratrice\nUne nouvelle collègue nous rejoint lundi prochain au "
    "service juridique. Merci de prévoir un ordinateur portable, un badge, un compte de "
    "messagerie, l'accès au dossier partagé et une licence de la suite bureautique. Elle "
    "travaillera deux jours par semaine à distance et aura besoin du VPN.",
    "Lenteurs\nLe logiciel de paie met plus de deux minutes à s'ouvrir et se fige dès "
    "qu'on exporte un tableau. Cela dure depuis la mise à jour de vendredi. Même problème "
    "chez trois collègues.",
    "Fichier supprimé par erreur\nJ'ai effacé le dossier des contrats sur le lecteur "
    "réseau. Est-il possible de le restaurer depuis la sauvegarde d'hier soir ?",
    "Re: votre demande\nCela ne fonctionne toujours pas, j'ai le même message : erreur "
    "[CODE], accès refusé.",
    "Téléphone\nLe poste fixe de la salle de réunion ne sonne plus et on n'entend rien "
    "quand on décroche.",
    "Hameçonnage ?\nJ'ai reçu un message étrange qui me demande de confirmer mes "
    "identifiants bancaires sur [URL]. J'ai cliqué sur le lien mais je n'ai rien saisi. "
    "Que dois-je faire ?",
    "Wi-Fi\nPas de réseau sans fil dans la salle du conseil, le signal est trop faible. "
    "Réunion avec des clients demain à 9 h.",
    "Bonjour,\n\nje me permets de vous relancer au sujet de ma demande de la semaine "
    "dernière, restée sans réponse. Mon ordinateur portable s'éteint tout seul sans "
    "prévenir, en général après une vingtaine de minutes, et le ventilateur tourne à "
    "pleine vitesse. J'ai essayé avec un autre chargeur, sur une autre prise, et après "
    "avoir fermé toutes les applications : rien n'y fait. J'ai perdu deux fois mon travail "
    "de la matinée. Comme je pars en déplacement jeudi, pourriez-vous me prêter un poste "
    "de remplacement ou regarder la batterie avant mercredi soir ? Je reste à votre "
    "disposition pour tout renseignement et vous remercie par avance de votre aide.",
    "Printer jams\nThe printer on the third floor jams on every second page. We replaced "
    "the paper and the toner already. Can someone have a look today?",
    'Cannot log in\nHi, since this morning I get "invalid credentials" although I changed '
    "my password yesterday. My phone number is [PHONE]. Thanks",
    "Outage of the booking system\nThe booking system has been down since 9 am, all our "
    "agents get error 503 and customers are calling. This is critical, please escalate.",
    "Invoice question\nDear team, could you explain why the monthly fee on invoice "
    "[NUMBER] is higher than agreed in our contract? Please send a corrected version. Kind "
    "regards",
    "New laptop\nMy laptop is five years old and takes ten minutes to start. I would like "
    "to request a replacement with at least 16 GB of memory, if the budget allows it.",
    "Data export\nWe need to integrate our customer data with your analytics platform. Is "
    "there an API with OAuth, and which rate limits apply? We use Python and PostgreSQL.",
    "Security incident in the hospital network\nOur monitoring has found unusual access to "
    "patient records from an unknown address last night. We have isolated two servers and "
    "reset the administrators' passwords. Please advise on the next steps, and tell us "
    "whether the logs of the firewall should be kept for the investigation.",
    "Feature request\nIt would be great if the dashboard could be filtered by region and "
    "exported as PDF. Not urgent.",
    "Refund\nI was charged twice for my subscription and nobody answers my mails. This is "
    "the third time I write!!! I want my money back.",
    "Marketing\nWe are looking for ways to improve our digital brand growth, and would "
    "like to know more about the tools you offer for campaigns, search engine optimisation "
    "and social networks.",
    "Software installation\nPlease install the statistics package on my workstation, the "
    "licence is attached. I do not have administrator rights.",
    "Dear Sir or Madam,\n\nI am writing to report a persistent problem with the backup of "
    "our virtual machines. For the past six days the nightly job has stopped at about 80 % "
    "with a message that the repository is not reachable, although the storage answers and "
    "has more than two terabytes of free space. We have restarted the backup server, "
    "renewed the certificates, checked the firewall and updated the agents to the latest "
    "version, without success. As our audit takes place at the end of the month, we would "
    "be grateful if one of your engineers could look into this with priority and let us "
    "know what additional information you need. Log files of the last two nights can be "
    "provided on request. We are available on weekdays between eight and five.",
    "Drucker defekt\nGuten Morgen, unser Drucker zieht kein Papier mehr ein und meldet "
    "Fehler 0x80070005. Bitte um schnelle Hilfe, vielen Dank.",
    "Passwort zurücksetzen\nIch kann mich nach dem Urlaub nicht mehr anmelden, mein Konto "
    "ist gesperrt. Bitte setzen Sie das Passwort zurück.",
    "Rechnung\nSehr geehrte Damen und Herren, die Rechnung vom März enthält eine falsche "
    "Adresse. Bitte senden Sie uns eine korrigierte Fassung zu. Mit freundlichen Grüßen",
    "Ausfall der Datenbank\nSeit heute früh sind die Abfragen in unserer Datenbank extrem "
    "langsam, einige Dienste brechen ab. Wir haben die Server neu gestartet, leider ohne "
    "Erfolg. Der Betrieb ist stark eingeschränkt und mehrere Kunden sind betroffen.",
    "Angebot\nWir interessieren uns für Ihre Lösung zur Projektverwaltung und bitten um "
    "Informationen zu Preisen, Schnittstellen und Schulungen für etwa vierzig Mitarbeiter.",
    "Outlook\nOutlook stürzt beim Öffnen von Anhängen ab. Neuinstallation hat nichts gebracht.",
    "x",
    "7",
    ".",
    "!",
    "-",
    "Hello",
    "yes",
    "NO",
    "ERROR",
    "Ticket",
    "Rechnung",
    "imprimante",
    "contraseña",
    "2",
    "99",
    "€",
    "✅",
    "😡",
    "👍👍👍",
    "🚨🚨🚨 🆘",
    ",,,,,,,,,,",
    "??????????????????",
    "* * * * * *",
    "==========",
    "_________________",
    "((((((((((",
    "zzzzzzzzzzzzzzzzzzzzz",
    "ha ha ha ha ha ha ha ha",
    "no no no no no no",
    "WE CANNOT WORK SINCE THIS MORNING!!! PLEASE FIX IT TODAY!!!",
    "555-0199 ext. 12, 18:45, 07/03/2025, 1,299.00 EUR",
    "0 0 0 0 0 0 1 1 1 1",
    "8675309 8675309 8675309",
    "for (int i = 0; i < n; ++i) { std::cout << a[i] << '\\n'; }",
    "import os\nprint(os.environ['HOME'])",
    "UPDATE users SET name = 'x' WHERE id = 3;",
    "<div class=\"a\"><a href='b'>c</a></div>",
    '{"error": {"code": 500, "msg": "null"}}',
    "java.lang.NullPointerException at com.acme.Foo.bar(Foo.java:42)",
    "https://acme.test/login?next=%2Fhome admin@acme.test /var/log/syslog",
    "لدي مشكلة في الطابعة ولا أستطيع الطباعة اليوم.",
    "شكرا",
    "我的电脑无法启动,请帮忙。",
    "谢谢",
    "請問發票在哪裡?",
    "注文をキャンセルしたいです。",
    "ありがとう",
    "인터넷이 안 됩니다. 도와주세요.",
    "Мой пароль не подходит, помогите пожалуйста.",
    "Ευχαριστώ, δεν μπορώ να συνδεθώ.",
    "שלום, אני צריך עזרה",
    "मुझे मदद चाहिए, मेरा खाता बंद है",
    "ขอบคุณครับ อินเทอร์เน็ตช้า",
    "Tôi không thể đăng nhập",
    "Nie mogę się zalogować do systemu.",
    "Yazıcı çalışmıyor, yardım edin.",
    "No puedo acceder a mi cuenta desde ayer, ayuda por favor.",
    "A impressora não funciona desde hoje cedo.",
    "La stampante non funziona.",
    "De printer doet het niet meer.",
    "Guten Tag, mein Drucker geht nicht. " * 30,
    "The server is down again. " * 45,
    "5 " * 200,
    "? " * 100,
    "ok " * 100,
    "Q W E R T Y",
    "a b",
    "re: re: fwd:",
    "id,name,qty\n1,foo,3\n2,bar,9\n",
    "\t\t|",
    "N/A",
    "lorem ipsum",
    "~~~~",
    "###### ######",
    "😀",
)
